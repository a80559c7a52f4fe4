"""A trace for Perfetto (https://ui.perfetto.dev): holds above waits, a track per address space."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import extras, slices
from mmaplock_bt.renderers.slices import Kind, Slice
from mmaplock_bt.renderers.text.cells import KEPT, STACKS
from mmaplock_bt.result.model import Result

_SEQUENCE = 1
# In this order: the tracks of one address space.
_TRACKS: tuple[tuple[Kind, str], ...] = (("hold", "holds"), ("wait", "waits"))
_TOLD = (
    "cause",
    *KEPT,
    "owner_kind",
    "actor_kind",
    "cgroup",
    "tid",
    "pid",
    "hold_ns",
    "wait_ns",
)


def render(series: Series) -> bytes:
    """Renders every run's spans, each run from when it began. Raises UsageError without perfetto.

    A span that has not ended is open. Slices of a track must nest, so spans that overlap lie on
    tracks of the same name. A flow leads from a hold to each wait that is charged to it.
    """
    trace = _Trace()
    for run in series.runs:
        trace.add(run, run.window.start_ns - series.runs[0].window.start_ns)
    return trace.serialized()


class _Trace:
    def __init__(self) -> None:
        self._library = extras.perfetto()
        self._builder = self._library.Builder()
        self._numbers = count(1)

    def serialized(self) -> bytes:
        return bytes(self._builder.serialize())

    def add(self, run: Result, offset_ns: int) -> None:
        """Adds a run's spans; its window begins at the offset."""
        found = slices.of(run)
        flows = self._flows(run, found)
        self._note(run, offset_ns)
        for (mm, name), own in _by_space(found).items():
            space = self._track(f"{name} {mm}")
            for kind, title in _TRACKS:
                for lane in slices.lanes(one for one in own if one.kind == kind):
                    track = self._track(title, space)
                    for one in lane:
                        self._slice(one, track, offset_ns, flows.get(one, []))

    def _flows(self, run: Result, found: list[Slice]) -> dict[Slice, list[int]]:
        """The numbers of the flows that begin or end at a slice; a flow leads from hold to wait."""
        flows: dict[Slice, list[int]] = {}
        for pair in slices.pairs(run, found):
            number = next(self._numbers)
            for one in pair:
                flows.setdefault(one, []).append(number)
        return flows

    def _track(self, name: str, parent: int | None = None) -> int:
        number = next(self._numbers)
        track = self._builder.add_packet().track_descriptor
        track.uuid, track.name = number, name
        if parent is not None:
            track.parent_uuid = parent
        return number

    def _note(self, run: Result, offset_ns: int) -> None:
        """What the window was, and what is missing from it, at its begin."""
        event = self._event(self._track("mmaplock-bt"), offset_ns, "TYPE_INSTANT")
        event.name = safe(
            " ".join([f"{run.profile.name}, {run.window.start}.", *slices.lacking(run)])
        )

    def _slice(self, one: Slice, track: int, offset_ns: int, flows: list[int]) -> None:
        began = self._event(track, offset_ns + one.began_ns, "TYPE_SLICE_BEGIN")
        began.name = _name(one)
        (began.flow_ids if one.kind == "hold" else began.terminating_flow_ids).extend(flows)
        for name, value in _annotations(one):
            told = began.debug_annotations.add()
            told.name = name
            if isinstance(value, int):
                told.int_value = extras.int64(value)
            else:
                told.string_value = value
        if one.ended_ns is not None:
            self._event(track, offset_ns + one.ended_ns, "TYPE_SLICE_END")

    def _event(self, track: int, at_ns: int, kind: str) -> Any:
        packet = self._builder.add_packet()
        packet.timestamp = max(0, extras.int64(at_ns))
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.track_event.type = getattr(self._library.TrackEvent, kind)
        packet.track_event.track_uuid = track
        return packet.track_event


def _by_space(found: list[Slice]) -> dict[tuple[str, str], list[Slice]]:
    """Slices by address space; one that changes its owner's name (exec) has several."""
    spaces: dict[tuple[str, str], list[Slice]] = {}
    for one in found:
        owner = f"{one.row.get('owner_comm') or 'unknown'}[{one.row.get('owner_pid') or '?'}]"
        spaces.setdefault((safe(one.mm), safe(owner)), []).append(one)
    return spaces


def _name(one: Slice) -> str:
    row = one.row
    return safe(f"{row.get('mode')} {one.kind} {row.get('comm')}[{row.get('tid')}]")


def _annotations(one: Slice) -> Iterator[tuple[str, int | str]]:
    for name in _TOLD:
        value = one.row.get(name)
        if value is not None:
            yield name, value if isinstance(value, int) else safe(value)
    for name in STACKS:
        if frames := one.row.get(name):
            yield name, "\n".join(safe(frame) for frame in frames)
