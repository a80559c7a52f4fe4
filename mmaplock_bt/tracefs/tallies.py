"""Fills the outputs of an analysis: counts by key, and events, as templates/_records.bt.j2 does."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from mmaplock_bt.result.buckets import SUB_BUCKET_BITS
from mmaplock_bt.script import blocks
from mmaplock_bt.script.blocks import Values
from mmaplock_bt.script.plan import Plan
from mmaplock_bt.spec.outputs import Histogram
from mmaplock_bt.tracefs import printed

TRACER_FRAMES = 4  # on top of a stack; stream/stacks takes them off
Key = tuple[int, ...]
Value = Callable[[Values], int]
# Of the columns that are numbers, what a block's values have under another name.
_NAMED = {"pid": "actor_pid", "time_ns": "now"}


def bucket(value: int) -> int:
    """Returns the inclusive lower end of a value's bucket: all but its leading bits cleared."""
    shift = value.bit_length() - 1 - SUB_BUCKET_BITS
    return value >> shift << shift if shift > 0 else value


class Parties:
    """Who and whose, and the stack, of the event that is looked at: given by the engine."""

    comm: bytes  # the thread's
    frames: list[str]

    def process(self, pid: int) -> bytes:
        """Returns a process's name."""
        raise NotImplementedError

    def learn(self, pid: int) -> None:
        """Has a process in a key named."""
        raise NotImplementedError


class Tallies:
    """All outputs of a plan; `record` adds an observation to one."""

    def __init__(self, plan: Plan, lines: printed.Lines, parties: Parties) -> None:
        self.full = 0  # observations whose key there was no room for
        self._room = plan.map_keys
        self._lines = lines
        self._parties = parties
        self._counts: dict[str, Counter[Key]] = defaultdict(Counter)
        self._maxima: dict[str, dict[Key, int]] = defaultdict(dict)
        self._records: dict[str, Callable[[int, Values], None]] = {}
        for name, columns in plan.columns.items():
            output = plan.outputs[name]
            if output.kind == "events":
                self._records[name] = self._events(name, columns)
            else:
                of = output.totals_in(plan.outputs) if isinstance(output, Histogram) else None
                sums = output.kind in ("histogram", "table") and of is None
                self._records[name] = self._counted(name, columns, output.kind, sums=sums)

    def record(self, name: str, value: int, values: Values) -> None:
        """Adds an observation to an output: a line for events, else counts."""
        self._records[name](value, values)

    def maps(self) -> dict[str, dict[str, int]]:
        """Returns what has been counted, as bpftrace's maps."""
        found = {name: printed.keyed(counts) for name, counts in self._counts.items()}
        return found | {name: printed.keyed(one) for name, one in self._maxima.items()}

    def _counted(
        self, name: str, columns: list[dict[str, Any]], kind: str, *, sums: bool
    ) -> Callable[[int, Values], None]:
        keys = [_number(column) for column in columns]
        counts, totals, maxima = self._counts[name], self._counts[f"{name}_sum"], {}
        if sums:
            maxima = self._maxima[f"{name}_max"]
        else:
            del self._counts[f"{name}_sum"]
        is_histogram = kind == "histogram"
        learn = [at for at, c in enumerate(columns) if c["name"] in ("pid", "owner_pid")]

        def count(value: int, values: Values) -> None:
            key = tuple([one(values) for one in keys])
            counted = (*key, bucket(value)) if is_histogram else key
            if counted not in counts and len(counts) >= self._room:
                self.full += 1
                return
            if sums:
                totals[key] += value
                if value > maxima.get(key, -1):
                    maxima[key] = value
            counts[counted] += 1
            for at in learn:
                self._parties.learn(key[at])

        return count

    def _events(self, name: str, columns: list[dict[str, Any]]) -> Callable[[int, Values], None]:
        writes = [self._written(column) for column in columns]
        tells_threads = {column["name"] for column in columns} >= {"tid", "pid", "comm"}

        def say(_value: int, values: Values) -> None:
            if tells_threads and values["tid"] != values["actor_pid"]:
                self._parties.learn(values["actor_pid"])
            self._lines.say(name, *(write(values) for write in writes))

        return say

    def _written(self, column: dict[str, Any]) -> Callable[[Values], object]:
        """How a column of an event is printed; a stack of depth 0 is not."""
        kind, parties = column["type"], self._parties
        if kind == "user_stack" or not column["is_printed"]:
            return lambda values: ""
        if kind == "kernel_stack":
            depth = column["depth"] + TRACER_FRAMES
            return lambda values: printed.stack(parties.frames[:depth])
        if kind == "text":
            return self._named(column)
        number = _number(column)
        return (lambda values: f"{number(values):x}") if kind == "hex" else number

    def _named(self, column: dict[str, Any]) -> Callable[[Values], object]:
        parties = self._parties
        if column["name"] == "comm" and not column["is_process"]:
            return lambda values: printed.text(parties.comm)
        of = "owner_pid" if column["name"] == "owner_comm" else "actor_pid"
        return lambda values: printed.text(parties.process(values[of]))


def _number(column: dict[str, Any]) -> Value:
    if column["expression"]:
        return blocks.expression(column["expression"])
    name = _NAMED.get(column["name"], column["name"])
    return lambda values: values[name]
