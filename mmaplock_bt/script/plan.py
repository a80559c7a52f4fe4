"""What the tracefs engine shall do: an analysis's blocks, and all that it must know beside them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine import cgroups
from mmaplock_bt.script import blocks
from mmaplock_bt.script.blocks import Block
from mmaplock_bt.spec.outputs import Events, OpenSpans, Outputs
from mmaplock_bt.spec.profile import Filter, Profile

MOST = 16_384  # keys of a map, unless the profile says otherwise
# The events that are switched on: of the lock, and those that tell who a thread is.
LOCKS = ("start_locking", "acquire_returned", "released")
TASKS = ("task/task_newtask", "task/task_rename", "sched/sched_process_exec",
         "sched/sched_process_exit")  # fmt: skip
_HEAD = re.compile(r"^== (\w+)$", re.MULTILINE)
# What a block may ask for here; `owner`, `self` and `whose` are structures of the kernel's.
_ALWAYS = frozenset(["now", "mm", "tid", "mode", "owner_pid", "owner_kind", "actor_pid",
                     "actor_kind"])  # fmt: skip
_ASKS_WAITS = frozenset(["wait_ns", "began"])
_TOLD = frozenset({
    *_ALWAYS, *_ASKS_WAITS, "hold_ns", "contended",
    "cpu_wait_ns", "short_ns", "watched", "preempted_ns", "asleep_ns",  # 0: nothing tells
})  # fmt: skip
_OWNED = frozenset(["owner_pid", "owner_comm", "owner_kind", "is_foreign"])


@dataclass(frozen=True)
class Plan:
    """`columns` are those of each output that is filled, as templates get them (script/context).

    `tree`: only what the given process and its descendants lock. `cgroups` are the owner's that
    are meant, by their ids; None: all. `watch` is how old an open span must be to be told (ns), and
    how often they are looked for (ns; None: at the end only).
    """

    texts: dict[str, str]
    outputs: Outputs
    columns: dict[str, list[dict[str, Any]]]
    filter: Filter
    map_keys: int = MOST
    tree: bool = False
    cgroups: frozenset[int] | None = None
    watch: tuple[int, int | None] | None = None
    books: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many of the kernel's events are switched on."""
        return len(LOCKS) - (not self.waits) - (not self.holds) + len(TASKS)

    @property
    def opens(self) -> bool:
        """Whether open spans are told."""
        return self.watch is not None

    @property
    def waits(self) -> bool:
        """Whether waits are followed; as templates/_mmap_lock has it."""
        return self.opens or self._asks_waits() or not self._asks_holds()

    @property
    def holds(self) -> bool:
        """Whether holds are followed."""
        return self.opens or self._asks_holds() or not self._asks_waits()

    @property
    def stacks_of(self) -> frozenset[str]:
        """The blocks that record an output with a kernel stack."""
        return frozenset(name for name in self.texts if self._asks_stack(self.block(name)))

    @property
    def asks_owner(self) -> bool:
        """Whether something that is told depends on whose address space it is."""
        named = {c["name"] for columns in self.columns.values() for c in columns}
        asked = {name for block in self.texts for name in self.block(block).names}
        return bool((named | asked) & _OWNED)

    def block(self, name: str) -> Block:
        """Returns a block, as one that does nothing. Raises Unserved."""
        return blocks.parse(self.texts[name])

    def _asks_stack(self, block: Block) -> bool:
        told = (column for name in block.records for column in self.columns[name])
        return any(column["type"] == "kernel_stack" and column["is_printed"] for column in told)

    def _asks_waits(self) -> bool:
        given = (self.block(name) for name in ("wait_began", "wait_ended"))
        began = self.block("hold_began").names & _ASKS_WAITS
        return any(not one.is_empty for one in given) or bool(began)

    def _asks_holds(self) -> bool:
        return any(not self.block(name).is_empty for name in ("hold_began", "hold_ended"))


def made(
    profile: Profile, rendered: str, columns: dict[str, list[dict[str, Any]]], *, tree: bool
) -> Plan:
    """Returns the plan for a profile, from the blocks as rendered.

    Raises TargetError for what this engine cannot tell, UsageError for a cgroup that is not there.
    """
    outputs = profile.template.declaration.outputs
    _, *parts = _HEAD.split(rendered)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    try:
        _check_blocks(texts, columns, outputs)
    except blocks.Unserved as error:
        raise _unserved(f"{profile.template.name} asks for {error}") from error
    found = Plan(
        texts, outputs, columns, profile.filter, profile.map_keys, tree,
        _cgroups(profile.filter.owner.cgroups), _watch(outputs, profile.params),
    )  # fmt: skip
    found.books.extend(_books(found))
    return found


def _unserved(what: str) -> TargetError:
    return TargetError(
        f"{what}, which the tracefs engine cannot tell",
        "trace with bpftrace; of the shipped profiles hold-times, wait-times, long-holds, "
        "overview, blame, convoys and foreign-holds do without",
    )


def check(profile: Profile, memcg_field: object) -> None:
    """Raises TargetError for a choice that needs what only bpftrace sees."""
    owner, actor = profile.filter.owner, profile.filter.actor
    asked = {
        "-p and --owner-comm ask whose an address space is": owner.pids or owner.comms,
        "--cgroup asks for an id that this kernel's events have not (6.14)": (
            owner.cgroups and memcg_field != "memcg_id"
        ),
        "--actor-cgroup asks in which cgroup a thread is": actor.cgroups,
        "--locks contended asks who waits before it is followed": profile.locks == "contended",
        "--sample asks for one lock in many": profile.sample > 1,
        "--max-overhead asks what tracing costs": profile.max_overhead_ppm is not None,
    }
    for what, value in asked.items():
        if value:
            raise _unserved(what)


def _check_blocks(
    texts: dict[str, str], columns: dict[str, list[dict[str, Any]]], outputs: Outputs
) -> None:
    for text in texts.values():
        block = blocks.parse(text)
        own = set(re.findall(r"\$(\w+)\s*=(?!=)", text))
        _known(block.names - own)
        for name in block.records:
            for column in columns[name]:
                if column["expression"]:
                    _known(blocks.parse(f"$x = {column['expression']};").names - own)
    if texts.get("beat", "").strip():
        raise blocks.Unserved("a block every second")
    for output in outputs.values():
        if isinstance(output, Events) and output.behind:
            raise blocks.Unserved("what overtakes a writer")


def _known(names: Iterable[str]) -> None:
    for name in sorted(names):
        if name not in _TOLD:
            raise blocks.Unserved(f"'${name}'")


def _cgroups(given: Iterable[str]) -> frozenset[int] | None:
    """The ids of these cgroups and of all below them, as they are now."""
    wanted = {cgroups.cgroup_id(path) for path in given}
    if not wanted:
        return None
    known = cgroups.paths()
    root = cgroups.hierarchy()
    if root is not None and cgroups.is_unified():
        for one in wanted:
            # Below a controller that is off the event tells the cgroup above.
            if not (root / known.get(one, "/").lstrip("/") / "memory.current").exists():
                raise _unserved("--cgroup asks for one whose memory controller is off")
    roots = [known[one].rstrip("/") + "/" for one in wanted if one in known]
    below = {one for one, path in known.items() if any(path.startswith(root) for root in roots)}
    return frozenset(wanted | below)


def _watch(outputs: Outputs, params: dict[str, int]) -> tuple[int, int | None] | None:
    for output in outputs.values():
        if isinstance(output, OpenSpans):
            every = params[output.open.every] if output.open.every else None
            return params[output.open.older], every
    return None


def _books(plan: Plan) -> Iterator[str]:
    yield from ("acquires", "downgrades", "orphan_releases", "releases") if plan.holds else ()
    yield from ("open_holds",) if plan.holds else ()
    yield from ("failed", "open_waits", "starts") if plan.waits else ()
    yield from ("acquires",) if not plan.holds else ()
