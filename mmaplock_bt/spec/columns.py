"""The standard fields of records and keys: how each is read in bpftrace and what it means outside.

A template names fields; this table is all that Python knows about them.
"""

from dataclasses import dataclass
from typing import Literal

FieldType = Literal[
    "int", "hex", "enum", "text", "cgroup", "kernel_stack", "user_stack", "list", "stack"
]

MODES = ("read", "write")
OWNER_KINDS = ("process", "fork_child", "exec", "teardown", "kernel", "unknown")
ACTOR_KINDS = ("process", "kernel")
STATES = ("wait", "hold", "hold begun before the window")
LABELS = ("one long hold", "starved by overtaking readers", "a queue of writers", "unexplained")


@dataclass(frozen=True)
class Field:
    """One named column. `expression` is bpftrace, valid inside the base template's blocks.

    Without one the column is filled in Python and the kernel never prints it.
    """

    name: str
    type: FieldType = "int"
    unit: str = ""
    expression: str = ""
    labels: tuple[str, ...] = ()

    @property
    def is_stack(self) -> bool:
        return self.type in ("kernel_stack", "user_stack")

    @property
    def is_joined(self) -> bool:
        return not self.expression


_STANDARD = (
    Field("mode", "enum", expression="$mode", labels=MODES),
    Field("tid", expression="$tid"),
    Field("pid", expression="pid"),  # the script's writer knows
    Field("comm", "text", expression="buf(comm, 16)"),
    Field("actor_kind", "enum", expression="$actor_kind", labels=ACTOR_KINDS),
    Field("owner_pid", expression="$owner_pid"),
    Field("owner_comm", "text", expression="buf($whose->comm, 16)"),
    Field("owner_kind", "enum", expression="$owner_kind", labels=OWNER_KINDS),
    Field("cgroup", "cgroup", expression="$owner's memory cgroup"),  # the script's writer knows
    Field("mm", "hex", expression="$mm"),
    Field("hold_ns", unit="ns", expression="$hold_ns"),
    Field("wait_ns", unit="ns", expression="$wait_ns"),
    Field("time_ns", unit="ns", expression="$now"),
    Field("kernel_stack", "kernel_stack", expression="$kernel_stack"),
    Field("user_stack", "user_stack", expression="$user_stack"),
    # From here on filled in Python: causes, blame, convoys, outstanding.
    Field("cause", "text"),
    Field("label", "text"),
    Field("behind", "list"),
    Field("queued", "list"),
    Field("state", "enum", labels=STATES),
    Field("age_ns", unit="ns"),
    Field("ended", "enum", labels=("no", "yes")),
    Field("current_stack", "stack"),
    Field("charged", "enum", labels=("charged", "unexplained")),
    Field("charged_ns", unit="ns"),
    Field("read_ns", unit="ns"),
    Field("write_ns", unit="ns"),
    Field("hold"),
    Field("victim_tid"),
    Field("writer_tid"),
    Field("writer_pid"),
    Field("writer_comm", "text"),
    Field("writer_wait_ns", unit="ns"),
    Field("readers"),
    Field("readers_wait_ns", unit="ns"),
    Field("readers_max_ns", unit="ns"),
    Field("run", "text"),
    Field("why", "text"),
)
STANDARD = {field.name: field for field in _STANDARD}
