"""What is shown while a window is open: --live, on a terminal a screen, else lines."""

import io
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain

from mmaplock_bt import standard_streams
from mmaplock_bt.analysis import analyse
from mmaplock_bt.analysis.making import Making
from mmaplock_bt.errors import UsageError
from mmaplock_bt.renderers.live import moment
from mmaplock_bt.renderers.live.line import line
from mmaplock_bt.renderers.live.moment import Moment
from mmaplock_bt.spec import outputs
from mmaplock_bt.stream.bpftrace_json import MapDump
from mmaplock_bt.stream.recording import Head
from mmaplock_bt.stream.records import PRINTED
from mmaplock_bt.tracing import terminal
from mmaplock_bt.tracing.counted_so_far import CountedSoFar
from mmaplock_bt.tracing.onlooker import Standing
from mmaplock_bt.tracing.open_spans import OpenSpans
from mmaplock_bt.units import parse_duration

OLDER_NS = 1_000_000  # open spans are shown from this age on, where the profile tells no other
LEAST_NS = 100_000_000  # between two moments
RESTS = 10  # times the CPU time that a moment took: it costs at most a tenth of a CPU
NOTES = 1000  # sentences kept for when the screen is gone
Show = Callable[[Moment], None]


@dataclass(frozen=True)
class Watched:
    """How a window is shown while it is open: every `every_ns`, by what `shown` opens.

    `is_asked` tells whether a moment is wanted at once.
    """

    every_ns: int
    shown: Callable[[], AbstractContextManager[Show]]
    is_asked: Callable[[], bool] = bool


class Live:
    """An onlooker that makes a moment as often as is wanted, and has it shown."""

    def __init__(self, head: Head, making: Making, watched: Watched, show: Show) -> None:
        self._head, self._making, self._show = head, making, show
        self._watched = watched
        self._next_ns = 0
        self._before: Moment | None = None
        self._printed: Counter[str] = Counter()  # events, by output, at the moment before
        self._counted = CountedSoFar(head.outputs)
        self._spans = [
            OpenSpans(
                head.profile.params.get(f"{output.open.older}_ns", OLDER_NS),
                None,
                None,
                reads_stacks=not head.target.facts.get("pid_namespace"),
                locks=head.profile.locks,
                identities=making.got.identities,
            )
            for output in head.outputs.values()
            if isinstance(output, outputs.OpenSpans)
        ]

    def patience_s(self) -> float:
        """Returns how long it may take, in s, until the next moment."""
        return max(0.0, (self._next_ns - time.monotonic_ns()) / 1e9)

    def look(self, standing: Standing) -> None:
        """Makes a moment where it is time for one."""
        began_ns = time.monotonic_ns()
        if began_ns < self._next_ns and not self._watched.is_asked():
            return
        before_ns = time.thread_time_ns()  # not the clock's: a busy machine makes nothing dearer
        self._before = self._moment(standing)
        self._show(self._before)
        took_ns = time.thread_time_ns() - before_ns
        self._next_ns = began_ns + max(self._watched.every_ns, RESTS * took_ns)

    def close(self) -> None:
        """Closes the maps."""
        self._counted.close()
        for one in self._spans:
            one.close()

    def _moment(self, standing: Standing) -> Moment:
        counted = list(self._counted.read(standing.bpftrace_pid))
        looks = (one.look(standing.bpftrace_pid, last=True) for one in self._spans)
        seen = [standing.dropped, *counted, *chain.from_iterable(looks)]
        found = analyse.so_far(self._head, self._making, seen, standing.open_ns)
        late = self._late(counted, found.result.loss.lost_events)
        return moment.made(found, standing, self._counted.unread, late, self._before)

    def _late(self, counted: list[MapDump], lost: int) -> int:
        """How many events of those printed by the moment before have not come, and are not lost."""
        missing = self._printed - self._making.got.arrived
        self._printed = Counter(
            {
                dump.name.removeprefix(PRINTED): sum(count for _, count in dump.entries)
                for dump in counted
                if dump.name.startswith(PRINTED)
            }
        )
        return max(0, missing.total() - lost)


def every_ns(text: str) -> int:
    """Reads --refresh. Raises UsageError."""
    found = parse_duration(text)
    if found < LEAST_NS:
        raise UsageError(f"--refresh {text}: 100ms is the shortest that makes sense")
    return found


@contextmanager
def shown(*, screen: bool, color: bool) -> Iterator[Show]:
    """Has moments shown: on a screen of its own, or as lines on standard error."""
    if not screen:
        yield lambda one: standard_streams.tell(line(one))
        return
    with _screen(color=color) as show:
        yield show


class _Terminal(io.StringIO):
    """Standard error, without the guard that takes rich's own sequences for a name's."""

    def write(self, text: str) -> int:
        """Returns the length of the text."""
        standard_streams.draw(text)
        return len(text)


@contextmanager
def _screen(*, color: bool) -> Iterator[Show]:
    """The terminal's other screen. What is said meanwhile is shown there, and again behind it."""
    from rich.console import Console  # noqa: PLC0415  (not every run has a screen)
    from rich.live import Live as RichLive  # noqa: PLC0415

    from mmaplock_bt.renderers.live.screen import screen  # noqa: PLC0415

    notes: deque[str] = deque(maxlen=NOTES)
    console = Console(
        file=_Terminal(), force_terminal=True, color_system="standard" if color else None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    try:
        with (
            terminal.taken(notes.append),
            RichLive(console=console, screen=True, auto_refresh=False, redirect_stderr=False,
                     redirect_stdout=False) as drawn,
        ):  # fmt: skip
            yield lambda one: drawn.update(screen(one, list(notes)), refresh=True)
    finally:
        for note in notes:
            terminal.say(note)
