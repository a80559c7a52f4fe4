"""A bpftrace that is started: its process, its script, and the pipe for what it records.

Nothing of it is on disk, so that nothing has to be removed: the script is a file in memory, and
bpftrace opens it and the pipe by the descriptors that it inherits.
Imports little: bpftrace is started before the rest of the program is there (see head_start).
"""

import os
from collections.abc import Callable

from mmaplock_bt.tracing.process import Forked, Process

WANT_BTF = ("\nrawtracepoint:", "delete(")  # of 0.27; of 0.25 and 0.26 (machine/held_btf.py)


class Order:
    """What is to be run: a script by a bpftrace with these flags and settings.

    Two that are equal start the same.
    """

    def __init__(
        self,
        words: list[str],
        settings: dict[str, str],
        text: str,
        *,
        is_raised: bool = False,
        work: Callable[[int, list[int]], int] | None = None,
    ) -> None:
        self.is_raised = is_raised  # started as root for a user
        self.work = work  # in bpftrace's stead: given the stream and the pids, returns an exit code
        self.words = words  # the program's path, then its flags
        self.settings = settings  # of the environment
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it is compared, never looked up


class Launch:
    """An order's process, which waits until it is told its pids. Raises OSError."""

    process: Process

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pids: list[int] = []
        self.stream = -1
        self._btf: int | None = None
        self._lent: list[int] = []
        try:
            self._begin()
        except BaseException:
            self._let_go()
            raise

    def _begin(self) -> None:
        if any(word in self.order.text for word in WANT_BTF):
            # Here: for a script without any of these it is an import for nothing.
            from mmaplock_bt.machine import held_btf  # noqa: PLC0415

            self._btf = held_btf.load()
        self.stream, writer = os.pipe()
        script = os.memfd_create("script.bt")
        try:
            os.set_blocking(self.stream, False)
            _write(script, self.order.text.encode())
            whose = str(os.getpid()) if self.order.is_raised else "self"
            paths = [f"/proc/{whose}/fd/{descriptor}" for descriptor in (writer, script)]
            self._start([*self.order.words, "-f", "json", "-o", *paths], script, writer)
        finally:
            if not self._lent:
                os.close(script)
                os.close(writer)  # the child's is the last: its end is the stream's

    def _start(self, words: list[str], *handed: int) -> None:
        """bpftrace opens what it is handed once more, by the path, from its start."""
        if (work := self.order.work) is not None:
            _, stream = handed
            self.process = Forked(words[0], lambda pids: work(stream, [*map(int, pids)]), handed)
        elif self.order.is_raised:
            from mmaplock_bt.tracing.raised import Raised  # noqa: PLC0415  (seldom needed)

            self.process = Raised(words, self.order.settings)
            self._lent = list(handed)  # sudo hands nothing on: root opens ours
        else:
            self.process = Process(words, {**os.environ, **self.order.settings}, handed)

    def tell(self, pids: list[int]) -> None:
        """Lets bpftrace be executed with these pids for $1, $2 and $3."""
        self.pids = pids
        self.process.tell([str(pid) for pid in pids])

    def is_live(self) -> None:
        """Lets go of what is needed only until the probes are attached."""
        if self._btf is not None:
            os.close(self._btf)
            self._btf = None
        while self._lent:
            os.close(self._lent.pop())

    def end(self) -> None:
        """Kills bpftrace if it runs, and leaves nothing behind."""
        self.process.end()
        self._let_go()

    def _let_go(self) -> None:
        self.is_live()
        if self.stream >= 0:
            os.close(self.stream)
            self.stream = -1


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
