"""The standard fields of records and keys: how each is read in bpftrace and what it means outside.

A template names fields; this table is all that Python knows about them.
"""

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["int", "hex", "enum", "text", "kernel_stack", "user_stack", "holds"]

MODES = ("read", "write")
OWNER_KINDS = ("process", "fork_child", "exec", "teardown", "kernel", "unknown")
LABELS = ("one long hold", "starved by overtaking readers", "a queue of writers", "unexplained")


@dataclass(frozen=True)
class Field:
    """One named column. `expression` is bpftrace, valid inside the base template's blocks."""

    name: str
    type: FieldType = "int"
    unit: str = ""
    expression: str = ""
    labels: tuple[str, ...] = ()
    needs_owner: bool = False

    @property
    def is_stack(self) -> bool:
        return self.type in ("kernel_stack", "user_stack")

    @property
    def is_joined(self) -> bool:
        """Filled in Python after the run; the kernel never prints it."""
        return self.type == "holds" or self.name == "label"


_STANDARD = (
    Field("mode", "enum", expression="$mode", labels=MODES),
    Field("tid", expression="$tid"),
    Field("pid", expression="(uint64)pid"),
    Field("comm", "text", expression="buf(comm, 16)"),
    Field("owner_pid", expression="$owner_pid", needs_owner=True),
    Field("owner_comm", "text", expression="buf($owner->comm, 16)", needs_owner=True),
    Field("owner_kind", "enum", expression="$owner_kind", labels=OWNER_KINDS, needs_owner=True),
    Field("mm", "hex", expression="$mm"),
    Field("hold_ns", unit="ns", expression="$hold_ns"),
    Field("wait_ns", unit="ns", expression="$wait_ns"),
    Field("time_ns", unit="ns", expression="$now"),
    Field("kernel_stack", "kernel_stack", expression="$kernel_stack"),
    Field("user_stack", "user_stack", expression="$user_stack"),
    Field("behind", "holds"),
    Field("label", "text"),
)
STANDARD = {field.name: field for field in _STANDARD}
