"""What is fuzzed: each target takes bytes and may end in a Failure only."""

import io
from collections.abc import Callable, Iterable
from contextlib import suppress

from mmaplock_bt import renderers
from mmaplock_bt.errors import Failure
from mmaplock_bt.judging import series
from mmaplock_bt.judging.series import Series
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.saved import from_json, to_json
from mmaplock_bt.spec import budget, gates, located_yaml, plain_yaml, tolerances
from mmaplock_bt.stream import bpftrace_json
from tests.builders import DIALECTS, FULL, LONG_HOLDS, STREAM, captured, made

GATES = ("hold{mode=write}.p99 < 5ms", "warn: long_holds.max(hold_ns) >= 1s", "books.residue == 0",
         "hold.rate < 5/s", 'long_holds{comm="a b"}.count != 3')  # fmt: skip
FORMATS = ("table", "github", "markdown", "json", "html")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def lines(data: bytes) -> None:
    """The parser of bpftrace's JSON."""
    list(bpftrace_json.parse(_text(data).split("\n")))


def stream(data: bytes) -> None:
    """A raw stream: a good header, then whatever comes."""
    head = STREAM.read_text().split("\n", 1)[0]
    raw = io.BytesIO(head.encode() + b"\n" + data)
    with suppress(Failure):
        _shown(*series._read(io.BufferedReader(raw)))


def result(data: bytes) -> None:
    """The loader of results, and what shows them."""
    with suppress(Failure):
        _shown(from_json(data))


def gate(data: bytes) -> None:
    """Gates and tolerances."""
    for parse in (gates.parse, tolerances.parse_condition):
        with suppress(Failure):
            parse(_text(data), LONG_HOLDS)


def profile(data: bytes) -> None:
    """YAML as profiles and budgets are read."""
    with suppress(Failure, UnicodeDecodeError):  # which is refused before it is read
        document = plain_yaml.load(data.decode(), "x.yaml")
        file = located_yaml.check(document, budget.BudgetFile)
        if file:
            budget.gates_of(file.gates, document, LONG_HOLDS)


def _shown(*runs: Result) -> None:
    for name in FORMATS:
        renderers.named(name)(Series(runs))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "lines": lines, "stream": stream, "result": result, "gate": gate, "profile": profile,
}  # fmt: skip
SEEDS: dict[str, Callable[[], Iterable[bytes]]] = {
    "lines": lambda: [path.read_bytes() for path in DIALECTS.glob("*/*.stdout")],
    "stream": lambda: [STREAM.read_bytes().split(b"\n", 1)[1]],
    "result": lambda: [to_json(made(FULL)).encode(), to_json(captured()).encode()],
    "gate": lambda: [text.encode() for text in (*GATES, "hold.p99:+10% and +100us")],
    "profile": lambda: [b"gates:\n  - hold.max < 5ms\n  - {warn: hold.p99 < 1s, min_samples: 3}\n"],
}  # fmt: skip
