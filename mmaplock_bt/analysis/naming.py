"""Names what rows hold as numbers: known only when the stream has ended."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from mmaplock_bt.analysis.kept import Raw
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec.outputs import Output
from mmaplock_bt.stream.collect import Collected

TOLD_BY_THREAD = {"pid", "tid", "comm"}
Read = Callable[[Raw], Any]
Reads = Mapping[str, Read]


class View(Mapping[str, Any]):
    """A raw row that reads like a row, and takes less room than one."""

    __slots__ = ("_raw", "_reads")

    def __init__(self, raw: Raw, reads: Reads) -> None:
        self._raw = raw
        self._reads = reads

    def __getitem__(self, name: str) -> Any:
        return self._reads[name](self._raw)

    def get(self, name: str, default: Any = None) -> Any:
        """Returns a column's value, or the default; Mapping's own is slower."""
        read = self._reads.get(name)
        return default if read is None else read(self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._reads)

    def __len__(self) -> int:
        return len(self._reads)


class Rows:
    """Waits or holds as `rows`, and by columns, which is many times as quick for all of them.

    `more` are named already.
    """

    def __init__(
        self, raws: Sequence[Raw] = (), reads: Reads | None = None, more: Iterable[Row] = ()
    ) -> None:
        self._raws = raws
        self._reads = reads or {}
        self.rows: list[Any] = [*(View(raw, self._reads) for raw in raws), *more]

    def columns(self, names: Sequence[str]) -> Iterator[Raw]:
        """Yields each row's values of these columns; None where it has no such column."""
        reads = [self._reads.get(name, nothing) for name in names]
        yield from zip(*(map(read, self._raws) for read in reads), strict=True)
        for row in self.rows[len(self._raws) :]:
            yield tuple(map(row.get, names))


def rows(raws: Sequence[Raw], reads: Reads) -> list[Any]:
    """Returns raw rows as rows."""
    columns = (map(read, raws) for read in reads.values())
    return [dict(zip(reads, told, strict=True)) for told in zip(*columns, strict=True)]


def by_process(reads: Reads, names: tuple[str, ...], got: Collected) -> Reads:
    """Returns what reads raw rows of these columns where `comm` is to be the process's name."""
    if not TOLD_BY_THREAD.issubset(names):
        return reads

    pid, tid, comm = (reads[name] for name in ("pid", "tid", "comm"))
    return {**reads, "comm": lambda raw: process(pid(raw), tid(raw), comm(raw), got)}


def process(pid: int | None, tid: int | None, comm: str | None, got: Collected) -> str | None:
    """Returns the name of a thread's process; `comm` is the thread's.

    A leader's name is its process's; of another thread's process the script has told it.
    """
    named = None if pid is None or pid == tid else got.comm(pid)
    return comm if named is None else named


def nothing(_raw: Raw) -> None:
    """Reads a column that rows lack."""


def reader(names: tuple[str, ...], name: str) -> Read:
    """Returns what reads a column as it is in raw rows of these columns."""
    return itemgetter(names.index(name)) if name in names else nothing


def reads(output: Output, names: tuple[str, ...], got: Collected) -> Reads:
    """Returns what reads each declared column of raw rows as it is in the result.

    In a raw row a time is the script's, a cgroup is its id, a user frame an address, and an owner's
    name may be the pid of the process whose name it is.
    """
    opened_ns = got.opened_ns or 0
    told = {
        "time_ns": lambda ns: ns - opened_ns if ns > opened_ns else 0,  # see since()
        "cgroup": got.cgroup,
        "owner_comm": lambda comm: got.comm(comm) if isinstance(comm, int) else comm,
    }
    found = {one.name: reader(names, one.name) for one in output.columns}
    found |= {n: _then(found[n], told[n]) for n in told if n in found and n in names}
    if "user_stack" in found and "user_stack" in names:
        found["user_stack"] = _frames(reader(names, "pid"), found["user_stack"], got)
    return found


def since(time_ns: int, got: Collected) -> int:
    """Returns a time of the script's since the window's start."""
    # CPUs' records race with the opening: one may carry an earlier time.
    return max(0, time_ns - (got.opened_ns or 0))


def _then(read: Read, name: Callable[[Any], Any]) -> Read:
    return lambda raw: name(read(raw))


def _frames(pid_of: Read, stack_of: Read, got: Collected) -> Read:
    def named(raw: Raw) -> list[str]:
        pid = pid_of(raw) or 0
        return [got.user_frames.get((pid, frame), frame) for frame in stack_of(raw)]

    return named
