"""The names that templates are given: plain data; all bpftrace text stands in the templates."""

import itertools
import re
from collections.abc import Callable
from typing import Any

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import features
from mmaplock_bt.machine.cgroups import cgroup_id
from mmaplock_bt.result.buckets import SUB_BUCKET_BITS
from mmaplock_bt.spec.columns import Column
from mmaplock_bt.spec.declaration import Template
from mmaplock_bt.spec.outputs import Counted, Histogram, OpenSpans, Output, Outputs
from mmaplock_bt.spec.profile import Filter, Profile
from mmaplock_bt.stream.records import (
    BITS,
    EVERY,
    FORMATS,
    FORMATS_WITH_ADVICE,
    KINDS,
    LINES,
    PRINTED,
    every,
    layouts,
    power_of_two,
)

TRACER_FRAMES = 4  # frames on top of a stack that belong to the tracing itself
RUNNING_FRAMES = 24  # of a sampled holder
CGROUP_DEPTH = 12  # levels that a cgroup filter looks up from a process
STACK_DEPTH = 16  # where the template has no parameter of the stack's name
THREADS = {"tid", "pid", "comm"}  # of an event: beside its thread's name the process's is told
OWNER_COLUMNS = {"owner_pid", "owner_comm", "owner_kind", "actor_kind", "cgroup"}
# Facts that are numbers, or '' for unknown.
NUMBERS = ("memory_controller", "mmap_lock_offset", "registers_at")
Facts = dict[str, bool | str]
Data = dict[str, Any]


def given(
    profile: Profile, cpus: int, facts: Facts, *, tree: bool, by_hand: bool
) -> dict[str, Any]:
    """Returns the names that templates/_mmap_lock.bt.j2 lists in its header.

    Raises UsageError for a cgroup that does not exist.
    """
    outputs = profile.template.declaration.outputs
    printed = {
        n: _output(o, profile.params, outputs, facts, by_hand=by_hand)
        for n, o in outputs.items()
        if o.is_printed
    }
    return {
        "params": profile.params,
        "filter": _filter(profile.filter),
        "cpus": cpus,
        "facts": facts | {name: _decimal(facts[name]) for name in NUMBERS},
        "raw": features.takes_raw(facts),
        "quote": quote,
        "printed": _finder(outputs, printed),
        "lines": _lines(outputs, printed, by_hand=by_hand),
        "BITS": BITS,
        "EVERY": EVERY,
        "KINDS": KINDS,
        "PRINTED": PRINTED,
        "SUB_BUCKET_BITS": SUB_BUCKET_BITS,
        "TRACER_FRAMES": TRACER_FRAMES,
        "RUNNING_FRAMES": RUNNING_FRAMES,
        "CGROUP_DEPTH": CGROUP_DEPTH,
        "by_hand": by_hand,
        "question": _in_a_format(profile.template.declaration.question),
        "tree": tree or profile.filter.owner.descendants,
        "actors": profile.filter.actor.descendants,
        "opens": not by_hand and any(isinstance(o, OpenSpans) for o in outputs.values()),
        "polled": None if by_hand else _polled(outputs, profile.params),
        "in_cgroup": _cgroups(profile),
        "asks_actor_kind": _asks_actor_kind(profile.template, printed),
        "locks": profile.locks,
        "sample": profile.sample,
        "first_every": every(0, *[power_of_two(profile.sample)] * 2),
        "live": profile.keeps_overhead and profile.locks == "all" and not by_hand,
        "every": {o.every for o in outputs.values() if isinstance(o, Counted)},
        "remembers_owners": any(o["remembers_owner"] for o in printed.values()),
        "names": not by_hand and _names(printed),
        "tells_cgroups": not by_hand and _keyed_by(printed, "cgroup"),
    }


def quote(text: str) -> str:
    """Returns text as a bpftrace string literal: the one way for text into a script.

    Raises UsageError for what cannot be quoted.
    """
    if not isinstance(text, str):
        raise UsageError(f"quote() takes one text, not {text!r:.60}")
    if not text.isprintable() or not text.isascii() or '"' in text or "\\" in text:
        raise UsageError(
            f"'{shown(text)}' cannot be quoted in a script: printable ASCII, no quotes, no \\"
        )
    return f'"{text}"'


def _filter(given: Filter) -> Data:
    """As plain data: a model has methods, and of those one leads to pickle."""
    sides = {"owner": given.owner, "actor": given.actor}
    return {"mode": given.mode} | {
        name: {
            **{key: getattr(side, key) for key in ("pid", "pids", "comm", "comms", "cgroup")},
            "descendants": side.descendants,
        }
        for name, side in sides.items()
    }


def _decimal(found: bool | str) -> str:
    """Once more: of what was found out, only a number enters a script."""
    return str(found) if re.fullmatch("[0-9]{1,18}", str(found)) else ""


def _in_a_format(text: str) -> str:
    """A template's own words, harmless inside a printf format."""
    harmless = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\' else "?" for c in text
    )
    # Before 0.24 bpftrace prints both; one alone would be read as a conversion.
    return harmless.replace("%", "%%")


def _output(
    output: Output, params: dict[str, int], outputs: Outputs, facts: Facts, *, by_hand: bool
) -> Data:
    names = {column.name for column in output.printed}
    columns = [_column(column, params, by_thread="tid" in names) for column in output.printed]
    has_stack = any(column.type == "kernel_stack" for column in output.printed)
    return {
        "kind": output.kind,
        "unit": output.unit,
        "has_totals": output.kind in ("histogram", "table") and not _totals(output, outputs),
        "columns": columns,
        "for_people": _for_people(columns),
        "tells_threads": names >= THREADS,
        "needs_owner": bool(names & OWNER_COLUMNS),
        "needs_cgroup": "cgroup" in names,
        "tells_advice": has_stack and bool(facts["user_registers"]) and not by_hand,
        # what is counted on every lock; and whoever reads the rest is rare enough to pay for it
        "remembers_owner": not by_hand and output.kind != "events" and "owner_pid" in names,
    }


def _totals(output: Output, outputs: Outputs) -> bool:
    """Whether another output's map has the sums and maxima."""
    return isinstance(output, Histogram) and output.totals_in(outputs) is not None


def _asks_actor_kind(template: Template, printed: dict[str, Data]) -> bool:
    columns = {column["name"] for output in printed.values() for column in output["columns"]}
    opens = any(isinstance(o, OpenSpans) for o in template.declaration.outputs.values())
    return opens or "actor_kind" in columns or "$actor_kind" in template.source


def _for_people(columns: list[Data]) -> list[Data]:
    """The columns in the order in which a person reads them, without time and mm."""
    shown = [c for c in columns if c["is_printed"] and c["name"] not in ("time_ns", "mm")]
    return sorted(shown, key=_rank)


def _column(column: Column, params: dict[str, int], *, by_thread: bool) -> Data:
    """A stack of depth 0 is not printed at all; without a tid it is the process that is named."""
    depth = params.get(column.name, STACK_DEPTH) if column.is_stack else None
    return {
        "name": column.name,
        "type": column.type,
        "unit": column.unit,
        "expression": column.expression,
        "depth": depth,
        "is_printed": depth != 0,
        "is_process": column.name == "comm" and not by_thread,
    }


def _finder(outputs: Outputs, printed: dict[str, Data]) -> Callable[[str], Data]:
    """The function by which a template looks up an output that it fills."""

    def find(name: str) -> Data:
        if name not in outputs:
            raise UsageError(f'record("{shown(name)}"): the template declares no such output')
        if name not in printed:
            raise UsageError(f'record("{shown(name)}"): this output is made from other ones')
        return printed[name]

    return find


def _lines(outputs: Outputs, printed: dict[str, Data], *, by_hand: bool) -> dict[str, Data]:
    """The formats by name; for the base template's own lines also their columns in order."""
    found: dict[str, Data] = {
        name: {"format": layout.format(), "fields": [c.name for c in layout.columns]}
        for name, layout in LINES.items()
    }
    for name, layout in layouts(outputs).items():
        columns = printed[name]["columns"]
        left_out = [c["name"] for c in columns if not c["is_printed"]]
        formats = FORMATS_WITH_ADVICE if printed[name]["tells_advice"] else FORMATS
        by_columns = layout.format(left_out, formats)
        people = printed[name]["for_people"]
        found[name] = {"format": _words(name, people) if by_hand else by_columns}
    return found


def _words(name: str, columns: list[Data]) -> str:
    """The format of lines for a person: names beside values, grouped by rank, stacks below."""
    lines = [
        " ".join(map(_word, found))
        for rank, found in itertools.groupby(columns, _rank)
        if rank < _STACK
    ]
    stacks = ["%s"] * sum(column["depth"] is not None for column in columns)
    return "\\n    ".join([f"{name} {lines[0]}", *lines[1:]]) + " ".join(["", *stacks]) + "\\n"


_STACK = 3


def _rank(column: Data) -> int:
    """0 for the actor's columns, then the template's own, the owner's, the stacks."""
    if column["depth"] is not None:
        return _STACK
    return 2 if column["name"] in OWNER_COLUMNS else int(bool(column["expression"]))


def _word(column: Data) -> str:
    is_text = column["name"] == "mode" or column["type"] == "text"
    name = column["name"].replace("_ns", "_us") if column["unit"] == "ns" else column["name"]
    return f"{name} {'%s' if is_text else FORMATS[column['type']]}"


def _polled(outputs: Outputs, params: dict[str, int]) -> Data | None:
    """From which age on (ns), and how often (ms), open spans are looked for; None: never."""
    for output in outputs.values():
        if isinstance(output, OpenSpans) and output.open.every is not None:
            every_ms = max(1, params[output.open.every] // 10**6)
            return {"older_ns": params[output.open.older], "every_ms": every_ms}
    return None


def _cgroups(profile: Profile) -> dict[str, list[int]]:
    """The ids of the cgroups in the filter. Raises UsageError."""
    sides = {"owner": profile.filter.owner, "actor": profile.filter.actor}
    return {name: [cgroup_id(path) for path in side.cgroups] for name, side in sides.items()}


def _names(printed: dict[str, Data]) -> bool:
    """Whether processes get names: those in keys, and those whose threads events name."""
    by_thread = any(output["tells_threads"] for output in printed.values())
    return by_thread or _keyed_by(printed, "pid", "owner_pid")


def _keyed_by(printed: dict[str, Data], *names: str) -> bool:
    return any(
        column["name"] in names
        for output in printed.values()
        if output["kind"] != "events"
        for column in output["columns"]
    )
