"""Whose an address space is, where the events show it: they tell its address and nothing else.

A kernel stack does show it: a thread in munmap() works on its own process's memory, in exit_mmap()
on what it tears down, in dup_mmap() on its own and on its child's. What one such event shows holds
for the address until that process becomes another image or ends. All else is unknown, and is said
to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmaplock_bt.stream.lock_frames import functions
from mmaplock_bt.stream.recent import Recent
from mmaplock_bt.stream.records import KINDS
from mmaplock_bt.tracefs.threads import Threads

_KIND = KINDS["owner"]
PROCESS, FORK_CHILD, EXEC = _KIND["process"], _KIND["fork_child"], _KIND["exec"]
TEARDOWN, KERNEL, UNKNOWN, SHARED = (
    _KIND["teardown"], _KIND["kernel"], _KIND["unknown"], _KIND["shared"],
)  # fmt: skip

# What a frame shows of the address space; the innermost frame that shows something counts.
# Names are those of Linux 5.11 to 7.x, as in stream/lock_frames.
_SHOWS = {
    # Of another process's memory, or of one that nothing tells.
    "foreign": functions(r"""
        (?:get|pin)_user_pages_remote (?:__)?access_remote_vm process_vm_rw\w* mem_rw
        smap_gather_stats show_smap\w* show_numa_map m_start m_stop pagemap_read clear_refs_write
        do_procmap_query proc_map_files\w* map_files\w* proc_pid_cmdline_read environ_read
        get_mm_cmdline do_migrate_pages do_pages_\w+ kernel_move_pages khugepaged\w* collapse_\w+
        hpage_collapse\w* ksm\w* damon\w* uprobe\w* register_for_each_vma userfaultfd\w*
        mfill\w* mwriteprotect_range (?:SYS_|__do_sys_)process_\w+ vector_madvise try_to_unuse
        unuse_mm task_numa_work ptrace\w* arch_ptrace aio_\w+ io_\w+ bpf_\w+ stack_map\w* perf_\w+
    """),
    "fork": functions(r"dup_mmap dup_mm copy_process"),  # up to 6.12 the first is inlined
    "teardown": functions(r"exit_mmap"),
    "new image": functions(r"""
        get_arg_page copy_strings? copy_string_kernel copy_strings_kernel create_init_stack_vma
        alloc_bprm bprm_mm_init __bprm_mm_init bprm_change_interp remove_arg_zero
    """),
    # Let go of when the new one is there already; often inlined.
    "old image": functions(r"exec_mmap begin_new_exec"),
    "own": functions(r"""
        (?:asm_)?exc_page_fault (?:__)?do_user_addr_fault (?:__)?do_page_fault handle_page_fault
        el0_da el0_ia do_translation_fault do_mem_abort
        vm_mmap_pgoff (?:ksys|__do_sys)_mmap\w* (?:__)?vm_munmap vm_brk\w* do_mprotect_pkey
        do_madvise
        (?:__)?mm_populate do_mlock exit_mm do_exit load_elf_binary setup_arg_pages
        SYS_(?:mmap|brk|munmap|mremap|mincore|msync|mlockall|munlockall|munlock|mlock2?|mprotect)
        SYS_(?:madvise|mseal|remap_file_pages|shmat|shmdt|pkey_mprotect)
        __do_sys_(?:brk|munmap|mremap|mincore|msync|mlockall|munlockall|mlock2?|madvise|shmdt)
    """),
}
_FROM_OUTSIDE = functions(r"(?:SYS_|__do_sys_)process_\w+ vector_madvise io_\w+")
_EXITING = functions(r"exit_mm do_exit exec_mmap begin_new_exec")


@dataclass(frozen=True)
class Owner:
    """An owner: its process (0: none, or not known) and its kind."""

    pid: int
    kind: int


NOBODY = Owner(0, UNKNOWN)


def shown(frames: Sequence[str]) -> str:
    """Returns what a stack shows of the address space: a key of _SHOWS, 'exit'; '' for nothing."""
    names = [frame.partition("+")[0] for frame in frames]
    for at, name in enumerate(names):
        for what, pattern in _SHOWS.items():
            if pattern.fullmatch(name):
                return _closer(what, name, names[at:])
    return ""


def _closer(what: str, name: str, further: Sequence[str]) -> str:
    """Of a teardown whether its own process makes it; madvise() is also done to others."""
    if what == "teardown" and any(map(_EXITING.fullmatch, further)):
        return "exit"
    if what == "own" and "madvise" in name and any(map(_FROM_OUTSIDE.fullmatch, further)):
        return "foreign"
    return what


@dataclass
class Owners:
    """Learns owners from stacks, and remembers them."""

    threads: Threads
    spaces: Recent[int, int] = field(default_factory=Recent)  # mm -> process
    ended: Recent[int, None] = field(default_factory=Recent)  # processes that have exited
    _of: Recent[int, set[int]] = field(default_factory=Recent)  # process -> its mms

    def of(self, mm: int, actor: int) -> Owner:
        """Returns whose an address space is, as known before this event of a process `actor`."""
        pid = self.spaces.get(mm)
        if pid is None or (pid in self.ended and pid != actor):
            return NOBODY
        shares = self.threads.sharing.get(actor) == pid
        return Owner(pid, SHARED if shares else PROCESS)

    def met(self, mm: int, actor: int, what: str, *, is_inner: bool) -> Owner:
        """Returns whose it is, by what this event's stack has shown() and by what is known.

        `is_inner`: the thread holds another lock since earlier, as a fork does the parent's.
        """
        if what in ("exit", "teardown"):
            self._drop(mm)
            return Owner(actor if what == "exit" else 0, TEARDOWN)
        if what == "fork" and is_inner:
            return Owner(actor, FORK_CHILD)  # it carries its parent's id
        if what == "new image":
            return Owner(actor, EXEC)
        if what == "old image":
            shared = self.threads.sharing.get(actor)
            return Owner(actor, EXEC) if shared is None else Owner(shared, SHARED)
        if what in ("own", "fork") and actor and actor not in self.threads.kernel:
            self._learn(mm, self.threads.sharing.get(actor, actor))
        return self.of(mm, actor)

    def executed(self, pid: int) -> None:
        """A process is another image: its address space is another's, or nobody's."""
        for mm in self._of.pop(pid, set()):
            self.spaces.pop(mm, None)

    def began(self, pid: int) -> None:
        """The id is a new process's."""
        self.ended.pop(pid, None)
        self.executed(pid)

    def exited(self, pid: int) -> None:
        """A process ends; it lets go of its memory after that."""
        self.ended[pid] = None

    def _learn(self, mm: int, pid: int) -> None:
        if self.spaces.get(mm) != pid:
            self._drop(mm)
            self.spaces[mm] = pid
            if pid not in self._of:
                self._of[pid] = set()
            self._of[pid].add(mm)

    def _drop(self, mm: int) -> None:
        pid = self.spaces.pop(mm, None)
        if pid is not None and (mms := self._of.get(pid)) is not None:
            mms.discard(mm)
