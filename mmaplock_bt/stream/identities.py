"""Who a thread is and whose an address space is: the script prints each once."""

from dataclasses import dataclass, field

from mmaplock_bt.stream.recent import Recent
from mmaplock_bt.stream.records import Holder, Record, Running, Thread, Whose


@dataclass
class Identities:
    """The latest record about each thread, address space and holder.

    A thread id or an address may belong to another one later.
    """

    threads: Recent[int, Thread] = field(default_factory=Recent)  # by tid
    spaces: Recent[str, Whose] = field(default_factory=Recent)  # by mm
    running: Recent[tuple[int, str], Running] = field(default_factory=Recent)  # by tid and mm
    holders: Recent[str, Holder] = field(default_factory=Recent)  # by mm: the rwsem's owner word

    def note(self, record: Record) -> bool:
        """Keeps a record about a thread, address space or holder; tells whether it was one."""
        match record:
            case Thread():
                self.threads[record.tid] = record
            case Whose():
                self.spaces[record.mm] = record
            case Running():
                self.running[record.tid, record.mm] = record
            case Holder():
                self.holders[record.mm] = record
            case _:
                return False
        return True
