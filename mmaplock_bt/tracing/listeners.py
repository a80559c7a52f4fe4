"""The listeners of a window: they learn names while these exist and add records of their own."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from mmaplock_bt.script.render import Script
from mmaplock_bt.spec import outputs
from mmaplock_bt.spec.profile import Profile
from mmaplock_bt.stream.records import Record, Spent
from mmaplock_bt.tracing import terminal
from mmaplock_bt.tracing.bpftrace import Tracer
from mmaplock_bt.tracing.cgroup_paths import CgroupNames
from mmaplock_bt.tracing.open_spans import OpenSpans
from mmaplock_bt.tracing.overhead import Overhead
from mmaplock_bt.tracing.price import Price
from mmaplock_bt.tracing.timeline import Timeline
from mmaplock_bt.tracing.user_frames import UserFrames


class Listeners:
    """All listeners of one window; a context manager."""

    def __init__(self, chosen: Profile, rendered: Script, facts: dict[str, bool | str]) -> None:
        is_ours = not facts.get("pid_namespace")  # else /proc/PID is another process
        declared = rendered.outputs
        # Before 6.17 reading /proc/PID/maps takes the very lock that is watched.
        named = declared if is_ours and facts.get("lockless_maps") else {}
        self.frames = UserFrames.for_outputs(named)
        self.cgroups = CgroupNames.for_outputs(declared)
        # What bpftrace's maps and programs tell, the tracefs engine tells itself, or nobody.
        is_bpf = rendered.plan is None
        self.timeline = Timeline(declared if is_bpf else {})
        self.price = Price(is_bpf=is_bpf)
        self.overhead = Overhead(chosen.max_overhead_ppm, chosen.sample, terminal.say)
        self.open = [
            OpenSpans(
                chosen.params[one.open.older],
                chosen.params[one.open.every] if one.open.every else None,
                None if one.open.last_only else terminal.say,
                reads_stacks=is_ours,
                locks=rendered.locks,
            )
            for one in declared.values()
            if is_bpf and isinstance(one, outputs.OpenSpans)
        ]

    def __enter__(self) -> "Listeners":
        self._closing = ExitStack()
        self._closing.callback(self.frames.close)
        self._closing.callback(self.timeline.close)
        self._closing.callback(self.price.close)
        self._closing.callback(self.overhead.close)
        for one in self.open:
            self._closing.callback(one.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until one of them wants to look."""
        looks = (one.patience_s() for one in self.open)
        own = (self.price.patience_s(), self.frames.patience_s(), self.timeline.patience_s())
        return min(*own, *looks)

    def heard(self, records: Iterable[Record]) -> Iterator[Record]:
        """Passes the records on, each followed by those that the listeners add."""
        everybody: list[UserFrames | CgroupNames | Timeline | OpenSpans]
        everybody = [self.frames, self.cgroups, self.timeline, *self.open]
        for record in records:
            yield record
            for one in everybody:
                yield from one.hear(record)

    def look(self, tracer: Tracer, *, last: bool = False) -> Iterator[Record]:
        """Yields a Look at what is open, where it is time for one; the cost, if it is `last`."""
        if tracer.alive:
            for spent in self.price.look(tracer, last=last):
                yield Spent(self.overhead.noted(spent.cost))
            self.overhead.watch(tracer)
            yield from self.overhead.news()
            yield from self.timeline.look(tracer.pid)
            for one in self.open:
                yield from one.look(tracer.pid, last=last)

    def told(self) -> Iterator[Record]:
        """Yields the records that listeners add once the window is closed."""
        for one in self.open:
            yield from one.told()
        yield from self.frames.told()
        yield from self.cgroups.told()
