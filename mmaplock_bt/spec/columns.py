"""The standard columns of records, keys and rows: name, type, unit and meaning.

A template names columns; this table is all that Python knows about them. The bpftrace expression of
each stands in templates/_records.bt.j2.
"""

from dataclasses import dataclass, replace
from typing import Literal

ColumnType = Literal[
    "int", "hex", "enum", "text", "cgroup", "kernel_stack", "user_stack", "list", "stack"
]
ColumnUnit = Literal["", "ns", "bytes", "permille"]

# A label's place is the number that a script prints for it: append, never reorder.
MODES = ("read", "write")
OWNER_KINDS = ("process", "fork_child", "exec", "teardown", "kernel", "unknown", "shared")
ALONE_KINDS = ("fork_child", "teardown")  # nobody else can ask for the lock: not yet, no longer
ACTOR_KINDS = ("process", "kernel")
FAULTS = (
    *("own lock", "own lock, first page", "mmap_lock", "mmap_lock, behind a writer"),
    "mmap_lock, its page was waited for",
)
STATES = (
    *("wait", "hold"),
    *("hold begun before the window", "hold begun before anybody waited"),
)
LABELS = ("one long hold", "starved by overtaking readers", "a queue of writers", "unexplained")
NO_YES = ("no", "yes")
CERTAINTIES = ("exact", "likely")
CHARGED = (
    *("charged", "unexplained"),
    *("waited for a CPU", "behind short holds", "met nobody", "behind a waiter without a CPU"),
)


@dataclass(frozen=True)
class Column:
    """A named column of a record, a key or a row.

    `expression` is bpftrace code, for a template's own column only. A column that is not
    `from_kernel` is filled in Python; no script prints it. `labels` are all values that an enum can
    have.
    """

    name: str
    type: ColumnType = "int"
    unit: ColumnUnit = ""
    help: str = ""
    labels: tuple[str, ...] = ()
    from_kernel: bool = True
    expression: str = ""

    @property
    def is_stack(self) -> bool:
        """Whether the script prints it as a kernel or user stack."""
        return self.type in ("kernel_stack", "user_stack")


_FROM_KERNEL = (
    Column("mode", "enum", help="how the lock is taken", labels=MODES),
    Column("tid", help="the actor's thread"),
    Column("pid", help="the actor's process"),
    Column("comm", "text", help="the actor's name: beside tid its thread's, else its process's"),
    Column("actor_kind", "enum", help="whether the actor is a kernel thread", labels=ACTOR_KINDS),
    Column("owner_pid", help="the process whose address space it is; null where none is left"),
    Column("owner_comm", "text", help="the owner's name, which is its leader's (--owner-comm)"),
    Column("owner_kind", "enum", labels=OWNER_KINDS,
           help="what the address space is at that moment (shared: the actor's parent's, from "
           "vfork or posix_spawn to exec)"),
    Column("fault", "enum", labels=FAULTS,
           help="under which lock a page fault got its page: its mapping's own (6.4), that and "
           "for a moment mmap_lock (a mapping's first page), or mmap_lock"),
    Column("cgroup", "cgroup", help="the owner's memory cgroup"),
    Column("mm", "hex", help="the address space"),
    Column("hold_ns", unit="ns", help="how long the hold lasted"),
    Column("wait_ns", unit="ns", help="how long the wait lasted"),
    Column("time_ns", unit="ns", help="when it was recorded, since the window's start"),
    Column("kernel_stack", "kernel_stack", help="the actor's kernel frames, innermost first"),
    Column("user_stack", "user_stack", help="the actor's user frames, innermost first"),
)  # fmt: skip
_FROM_PYTHON = (
    Column("cause", "text", help="what the actor did, told from its kernel stack"),
    Column("label", "enum", help="why a writer waited", labels=LABELS),
    Column("behind", "list", help="the holds that a wait overlapped, longest overlap first"),
    Column("queued", "list", help="who waited in a convoy, longest first"),
    Column("state", "enum", help="what is open", labels=STATES),
    Column("age_ns", unit="ns", help="how old an open span was when last seen"),
    Column("ended", "enum", help="whether a later look found it gone", labels=NO_YES),
    Column(
        "certainty",
        "enum",
        help="how sure it is that this thread holds the lock: of readers "
        "from before, the last that came is named",
        labels=CERTAINTIES,
    ),
    Column("current_stack", "stack", help="the thread's kernel frames while it lasted"),
    Column(
        "reason",
        "text",
        help="what kept the holder, told from such frames: reclaim of memory, "
        "I/O, page faults under way",
    ),
    Column(
        "faulting_tid",
        help="where page faults under way keep it: a thread that was seen in one, under a "
        "mapping's own lock (6.4)",
    ),
    Column("faulting_comm", "text", help="that thread's name"),
    Column("faulting_stack", "stack", help="that thread's kernel frames"),
    Column("charged", "enum", help="whether a hold explains the waiting", labels=CHARGED),
    Column("charged_ns", unit="ns", help="the part of a wait that passed behind the hold"),
    Column("read_ns", unit="ns", help="of it, waited to read"),
    Column("write_ns", unit="ns", help="of it, waited to write"),
    Column("preempted_ns", unit="ns", help="of it, the holder was runnable and had no CPU"),
    Column("asleep_ns", unit="ns", help="of it, the holder slept (about)"),
    Column("hold", help="the number of the hold that is charged"),
    Column("victim_tid", help="the thread that waited"),
    Column("victim_pid", help="its process"),
    Column("victim", "text", help="its process's name"),
    Column("culprit", "text", help="the name of the process that is charged"),
    Column("writer_tid", help="a convoy's first writer: its thread"),
    Column("writer_pid", help="a convoy's first writer: its process"),
    Column("writer_comm", "text", help="a convoy's first writer: its name"),
    Column("writer_wait_ns", unit="ns", help="a convoy's first writer: how long it waited"),
    Column("readers", help="how many readers queued behind the writer"),
    Column("readers_wait_ns", unit="ns", help="how long they waited together"),
    Column("readers_max_ns", unit="ns", help="how long the last of them waited"),
    Column("run", "text", help="the profile to run next"),
    Column("why", "text", help="why"),
)

STANDARD = {column.name: column for column in _FROM_KERNEL} | {
    column.name: replace(column, from_kernel=False) for column in _FROM_PYTHON
}
# Who is in a page fault that a holder waits for.
FAULTING = ("faulting_tid", "faulting_comm", "faulting_stack")
# What a pid in a key brings along. Text is no part of a key: bpftrace escapes no comma in it, and
# 0.24 to 0.27 delete its spaces. So the script prints name and cgroup once for each process.
LEARNT = {"owner_pid": ("owner_comm", "cgroup"), "pid": ("comm",)}
