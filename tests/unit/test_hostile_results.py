"""Hostile results, raw streams, gates and words: one sentence, the right code, never a traceback.

A file that is wrong in a way that harms nothing may be shown (0) or found inconclusive (5); 1 is
for gates that failed, and no attack makes one fail.
"""

import gzip
import html.parser
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmaplock_bt import renderers
from mmaplock_bt.judging import series
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import pprof
from mmaplock_bt.result import saved
from mmaplock_bt.result.saved import to_json
from mmaplock_bt.stream.records import Faulting, Look, Span, Thread, Whose
from mmaplock_bt.tracing import terminal
from mmaplock_bt.tracing.open_spans import OpenSpans
from tests import story
from tests.builders import CONTROLS, FULL, HOSTILE, SAID, STREAM, captured, made
from tests.unit.test_escaping import is_harmless

GOOD = json.loads(to_json(captured()))
RAW = STREAM.read_text().split("\n")
HUGE, DEEP = "9" * 5000, "[" * 100_000
TEXT = f"{HOSTILE}{CONTROLS}\n::error::x ##[add-path]x \u202e\u200b"
DROPPED = object()


def changed(place: str, value: Any) -> str:
    """A good result with one value replaced, or dropped."""
    made_up = json.loads(json.dumps(GOOD))
    *way, last = [int(part) if part.isdecimal() else part for part in place.split("/")]
    at = made_up
    for part in way:
        at = at[part]
    if value is DROPPED:
        del at[last]
    else:
        at[last] = value
    return json.dumps(made_up)


PLACES = (
    "schema", "tool", "tool/name", "profile/params", "profile/filter", "profile/sample",
    "target/cpus", "target/facts", "window/duration_ns", "window/ended_by", "window/command",
    "declarations/hold", "declarations/hold/kind", "declarations/hold/keys", "outputs/hold",
    "outputs/hold/rows", "outputs/hold/rows/0/key", "outputs/hold/rows/0/count",
    "outputs/hold/rows/0/buckets", "outputs/hold/rows/0/buckets/0",
    "outputs/hold/rows/0/quantiles", "books", "books/acquires", "loss", "loss/complete",
    "loss/lost_events", "verdicts", "messages", "cost", "findings",
)  # fmt: skip
VALUES = (DROPPED, True, -1, 10**90, "x", [[]], {"a": {"b": [1]}})
CHANGED = {f"{place}={'-' if value is DROPPED else str(value)[:20]}": changed(place, value)
           for place in PLACES for value in VALUES}  # fmt: skip
FILES = {
    "empty": "", "blanks": " " * 50_000, "no JSON": "x", "a list": "[]", "null": "null",
    "deep": DEEP, "deep objects": '{"a":' * 100_000, "a huge integer": f'{{"schema": {HUGE}}}',
    "many values": f'{{"tool": [{"1," * 4_100_000}1]}}',
    "many objects": f'{{"tool": [{"{}," * 600_000}1]}}',
    "NUL": "\0" * 100_000, "cut off": json.dumps(GOOD)[:-9], "twice": json.dumps(GOOD) * 2,
    "keys like text": changed(f"outputs/{TEXT.replace('/', '')}", {}),
    "an unhashable key": changed("outputs/hold/rows/0/key/x", [[]]),
}  # fmt: skip


def raw(first: dict[str, Any] | None = None, *lines: str) -> str:
    """A good raw stream with another header, and lines before its last one."""
    head = json.dumps(json.loads(RAW[0]) | (first or {}))
    return "\n".join([head, *RAW[1:-2], *lines, *RAW[-2:]])


def printed(text: str) -> str:
    return json.dumps({"type": "printf", "data": f"{text}\n"})


def own(kind: str, **fields: Any) -> str:
    return json.dumps({"type": f"mmaplock-bt-{kind}", **fields})


STREAMS = {
    "no outputs": raw({"outputs": 5}), "no probes": raw({"probes": "many"}),
    "argv": raw({"argv": 5}), "start": raw({"start": None}), "books": raw({"books": [5]}),
    "schema": raw({"schema": 9}), "a head alone": RAW[0], "half a head": RAW[0][:200],
    "only NUL": RAW[0] + "\n" + "\0" * 9999,
    "an end of text": raw(None, own("end", ended_by="duration", duration_ns="x")),
    "an end by a stranger": raw(None, own("end", ended_by=TEXT, duration_ns=1)),
    "an endless end": raw(None, own("end", ended_by="duration", duration_ns=10**300)),
    "frames": raw(None, own("frames", pid=[], frames={})),
    "frames of lists": raw(None, own("frames", pid=1, frames={"0x1": []})),
    "cgroups": raw(None, own("cgroups", paths={"x": "y"})),
    "cgroups of digits": raw(None, own("cgroups", paths={HUGE: "y"})),
    "a look": raw(None, own("open", now_ns=[], spans=[])),
    "spans": raw(None, own("open", spans=[5])), "a span": raw(None, own("open", spans=[{}])),
    "sleepers": raw(None, own("sleepers", sleepers=[{"tid": "x"}])),
    "a step": raw(None, own("sample", since_ns=1, sample=0, ppm=None)),
    "a cost": raw(None, own("cost", cost={})), "an own of a list": raw(None, own("end") + "]"),
    "maps": raw(None, '{"type": "map", "data": 5}'), "no type": raw(None, '{"data": 5}'),
    "a map of text": raw(None, json.dumps({"type": "map", "data": {"@book_starts": TEXT}})),
    "negative": raw(None, '{"type": "map", "data": {"@book_starts": -5, "@hold_sum": {"1": -9}}}'),
    "huge": raw(None, f'{{"type": "map", "data": {{"@book_starts": {"9" * 400}}}}}'),
    "buckets": raw(None, '{"type": "hist", "data": {"@hold": {"1": [{"min": 5, "count": "x"}]}}}'),
    "lost": raw(None, '{"type": "lost_events", "data": {"events": [5]}}'),
    "escapes": raw(None, '{"type": "printf", "data": "0x ' + '\\"' * 60_000),
    "backslashes": raw(None, '{"type": "printf", "data": "0x ' + "\\" * 200_001),
    "bytes": raw(None, '{"type": "value", "data": "' + "\\uffffffc3" * 20_000),
    "digits": raw(None, printed("open|٣"), printed("open|" + HUGE), printed("open|1_0")),
    "names": raw(None, printed("name|1|0|" + "\\x41" * 50_000), printed("name|" + TEXT)),
    "said": raw(None, *[json.dumps({"type": "errorf", "msg": f"{TEXT}{n}"}) for n in range(99)]),
    "a deep line": raw(None, DEEP), "a long line": raw(None, "x" * 3_000_000),
    "many wrong lines": raw(None, *['{"type": "?"'] * 5000),
}  # fmt: skip
GATES = {
    "blanks": "hold.p99" + " " * 50_000, "blanks before": " " * 50_000 + "x",
    "pairs": "hold{" + "mode=read," * 9000 + "}.max < 1s", "half a pair": "hold{mode=" + " " * 9999,
    "digits": f"hold.count < {HUGE}", "other digits": "hold.count < ٣", "wide": "hold.max < ５ms",
    "a long duration": f"hold.max < {HUGE * 200}ms", "text": TEXT, "empty": "", "NUL": "\0",
    "levels": "warn:" * 9999, "a bar": "hold.max | 5ms", "books": "books.__class__ < 5",
    "loss": "loss.complete < 5", "nothing": "hold", "no output": "x.max < 5ms",
    "a key": "hold{__class__=x}.max < 5ms", "nan": "hold.max < nan", "minus": "hold.max < -5ms",
    "surrogates": "hold.max < \udcff", "an exponent": "hold.max < 1e9ms",
}  # fmt: skip
TOLERANCES = {
    "blanks": "hold.p99:" + " " * 50_000, "colons": ":" * 50_000, "nothing": "", "text": TEXT,
    "digits": f"hold.p99:+{HUGE}%", "other digits": "hold.p99:+１0%", "twice": "hold.p99:+1%,+1%",
    "both ways": "hold.p99:+1% and -1ms", "signs": "hold.p99:" + "+-" * 999, "x": "x.p99:+1%",
}  # fmt: skip
WORDS = {
    "alpha": ("--alpha", "nan"), "alpha of 0": ("--alpha", "0"), "alpha huge": ("--alpha", HUGE),
    "runs": ("--min-runs", "0"), "runs huge": ("--min-runs", HUGE), "runs ٣": ("--min-runs", "٣"),
    "tolerance": ("--tolerance", " " * 50_000), "tolerance of text": ("--tolerance", TEXT),
    "an option": (f"--{TEXT}",), "an output": ("-o", TEXT), "a NUL": ("-o", "\0.json"),
    "a long name": ("-o", "x" * 10_000 + ".json"), "a format": ("--format", TEXT),
    "colour": ("--color", TEXT), "more": (TEXT,),
}  # fmt: skip


def check(done: Any, codes: tuple[int, ...]) -> None:
    assert done.returncode in codes, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == (done.returncode not in (0, 5) or bool(said)), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr) < 4000
    assert is_harmless(done.stderr.rstrip("\n")) and is_harmless(done.stdout)


def test_there_are_many_attacks():
    kinds = (CHANGED, FILES, STREAMS, GATES, TOLERANCES, WORDS)
    assert sum(map(len, kinds)) >= 120


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(GOOD))
    return str(path)


@pytest.mark.parametrize("name", CHANGED)
def test_results(cli, tmp_path, name):
    bad = tmp_path / "bad.json"
    bad.write_text(CHANGED[name])
    check(cli("report", str(bad), "-vv"), (0, 2))
    check(cli("gate", str(bad), "--gate", "loss.lost_events >= 0"), (0, 2, 5))


@pytest.mark.parametrize("name", [*FILES, *STREAMS])
@pytest.mark.parametrize("verb", ["report", "gate", "compare"])
def test_files(cli, tmp_path, good, verb, name):
    bad = tmp_path / "bad"
    bad.write_text((FILES | STREAMS)[name], errors="surrogatepass")
    more = {"gate": ("--gate", "loss.lost_events >= 0"), "compare": (good,), "report": ("-vv",)}
    check(cli(verb, str(bad), *more[verb]), (2,) if name in FILES else (0, 2, 5))


@pytest.mark.parametrize("name", GATES)
def test_gates(cli, good, name):
    check(cli("gate", good, "--gate", GATES[name]), (2,))


@pytest.mark.parametrize("name", TOLERANCES)
def test_tolerances(cli, good, name):
    check(cli("compare", good, good, "--fail-on", TOLERANCES[name]), (2,))


@pytest.mark.parametrize("name", WORDS)
def test_words(cli, good, name):
    check(cli("compare", good, good, *WORDS[name]), (2,))


def test_one_run_against_itself(cli, good):
    """Nothing can be drawn again from a single value: that is no fault of ours."""
    done = cli("compare", good, good, "--min-runs", "1", "--fail-on", "hold.p99:+10%")
    check(done, (0,))


@pytest.mark.parametrize("verb", ["report", "gate", "compare"])
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "fifo", "socket", "/proc/self/mem", "\0",
                                  "x" * 10_000, "sparse", "loop"])  # fmt: skip
def test_what_is_no_file(cli, tmp_path, good, verb, path):
    os.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("loop").symlink_to("loop")
    with open("sparse", "wb") as file:  # noqa: PTH123
        file.write(b'{"a": "')
        file.truncate(8 << 30)
    if path == "socket":
        import socket  # noqa: PLC0415

        socket.socket(socket.AF_UNIX).bind("socket")
    more = {"gate": ("--gate", "loss.lost_events >= 0"), "compare": (good,), "report": ()}
    check(cli(verb, path, *more[verb]), (2,))


def test_a_pipe_is_read(cli, tmp_path, good):
    """As of a shell's <(...), whose writer is there before."""
    reader, writer = os.pipe()
    os.write(writer, Path(good).read_bytes())
    os.close(writer)
    assert "hold-times" in cli("report", f"/dev/fd/{reader}").stdout
    os.close(reader)


# The kernel counts to a program what its process had before it (exec(2)), which were pytest's pages
# here: so a small one starts it, and says the KiB that it had.
METER = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def metered(bad: Path) -> tuple[int, int, str]:
    """What the report of a file ends with, the KiB that it took at most, and what it says."""
    argv = [sys.executable, "-c", METER, sys.executable, "-m", "mmaplock_bt", "report", str(bad)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    code, most_kib = map(int, done.stdout.split())
    return code, most_kib, done.stderr


@pytest.mark.parametrize("name", ["many values", "escapes", "backslashes", "deep", "a long line"])
def test_memory_and_time_are_bounded(tmp_path, name):
    """In a process of its own, which may use 20 s of a CPU and 200 MB."""
    bad = tmp_path / "bad"
    bad.write_text((FILES | STREAMS)[name])
    code, most_kib, said = metered(bad)
    assert code in (0, 2), said
    assert most_kib < 200 << 10


MIB, FEWER = 1 << 20, 1000
WITHIN = {
    "numbers": lambda: ",".join(map(str, range(FEWER, saved.VALUES))),
    "texts": lambda: ",".join(f'"a{one}"' for one in range(FEWER, saved.VALUES)),
    "arrays": lambda: ",".join(["[]"] * (saved.VALUES - FEWER)),
    "objects": lambda: ",".join(['{"a":1}'] * (saved.OBJECTS - FEWER)),
    "a text": lambda: json.dumps("x" * (series.LARGEST - FEWER)),
    "a text of wide letters": lambda: f'"{chr(0x1F600) * (series.LARGEST_FOREIGN // 4 - FEWER)}"',
    "one wide letter": lambda: json.dumps("x" * (series.LARGEST_FOREIGN - FEWER) + chr(0x1F600),
                                          ensure_ascii=False),
}  # fmt: skip


@pytest.mark.parametrize("shape", WITHIN)
def test_a_file_just_within_the_limits_is_bounded_too(tmp_path, shape):
    bad = tmp_path / "bad.json"
    bad.write_text(f'{{"tool": [{WITHIN[shape]()}]}}', encoding="utf-8")
    code, most_kib, said = metered(bad)
    assert code == 2 and "schema: field required" in said
    assert most_kib < 300 << 10


@pytest.mark.parametrize(("text", "more"), [("x", ""), ("\u00e9", ", with letters beyond ASCII")])
def test_a_file_beyond_the_limits_is_not_parsed(tmp_path, text, more):
    most = series.LARGEST_FOREIGN if more else series.LARGEST
    bad = tmp_path / "bad.json"
    bad.write_text(f'{{"tool": "{text * most}"}}', encoding="utf-8")
    code, most_kib, said = metered(bad)
    assert code == 2 and f"no result file: longer than {most // MIB} MiB{more}" in said
    assert most_kib < 200 << 10


RAW_TEXTS = pytest.mark.parametrize("text", [
    "\x1b[31m\x07", "[bold]x[/bold] [/x]", "<b>&amp;]]>", "\x00\x0b\ufffe", "| a | b |",
    "\n::set-output name=x::y", "::error::x", "##[add-path]/x", "##vso[task.x]y", "a\r\nb",
    "\udcff", "\u202eabc", "\u200b\u2060\ufeff", "{{x}} $(x) `x`", "</script><img onerror=x>",
], ids=repr)  # fmt: skip


@pytest.mark.parametrize("name", ["table", "gates", "json", "junit", "github", "markdown",
                                  "openmetrics", "bencher", "smaller", "gobench", "html", "folded",
                                  "folded-victim", "speedscope"])  # fmt: skip
@RAW_TEXTS
def test_no_text_gets_out_raw(cli, tmp_path, name, text):
    """In every format, from every place of a result that takes a text."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps(_filled(text)))
    for options in (("-vv", "--color", "always"), ("--color", "never")):
        done = cli("report", str(path), "--format", name, *options)
        assert done.returncode == 0, done.stderr
        shown = done.stdout
        if name in ("table", "gates"):
            shown = "".join(part for at, part in enumerate(_styles(shown)) if at % 2 == 0)
        if name == "github":
            assert all(line.startswith(("::notice", "::error", "::warning"))
                       for line in shown.splitlines())  # fmt: skip
            shown = shown.replace("::", "")
        assert is_harmless(shown)


# What readers of these show of a file: they decode it first.
def _of_html(data: str | bytes) -> list[str]:
    """Text and attributes of the page; its scripts have the data between theirs as JSON."""
    assert isinstance(data, str)
    page = _Page()
    page.feed(data)
    return page.found


def _of_speedscope(data: str | bytes) -> list[str]:
    return list(_texts(json.loads(data)))


def _of_pprof(data: str | bytes) -> list[str]:
    assert isinstance(data, bytes)
    return list(pprof._message_class().FromString(gzip.decompress(data)).string_table)


def _of_perfetto(data: str | bytes) -> list[str]:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace  # noqa: PLC0415

    found: list[str] = []
    for packet in Trace.FromString(data).packet:
        event = packet.track_event
        found += [packet.track_descriptor.name, event.name]
        found += [one.string_value for one in event.debug_annotations]
    return found


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0
        self._is_data = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self._is_data = tag in ("script", "style")
        self.found += [value for _, value in attributes if value]
        assert tag not in ("b", "img") or not dict(attributes).get("onerror")

    def handle_endtag(self, tag: str) -> None:
        self._is_data = False

    def handle_data(self, data: str) -> None:
        self.found += [] if self._is_data else [data]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


DECODED = {"html": _of_html, "speedscope": _of_speedscope, "pprof": _of_pprof,
           "perfetto": _of_perfetto}  # fmt: skip


@pytest.mark.parametrize("name", DECODED)
@RAW_TEXTS
def test_no_text_gets_out_raw_of_what_a_reader_decodes(name, text):
    """Of lines of one text: line ends are the writer's, between the frames of a stack."""
    series = Series((saved.from_json(json.dumps(_filled(text))),))
    shown = DECODED[name](renderers.rendered(series, name))
    assert any(shown) and all(map(_is_printable, shown))


@RAW_TEXTS
def test_no_text_gets_out_raw_of_a_comparison(cli, tmp_path, text):
    for name in ("base", "new"):
        (tmp_path / f"{name}.json").write_text(json.dumps(_filled(text)))
    words = ("compare", str(tmp_path / "base.json"), str(tmp_path / "new.json"))
    for name in ("table", "markdown", "junit", "github", "html"):
        done = cli(*words, "--format", name, "--min-runs", "1", "--color", "never")
        assert done.returncode == 0, done.stderr
        shown = done.stdout.replace("::", "") if name == "github" else done.stdout
        assert is_harmless(shown) and is_harmless(done.stderr.rstrip("\n")), name
        assert name != "html" or all(map(_is_printable, _of_html(done.stdout)))


def _is_printable(text: str) -> bool:
    return text.replace("\n", "").isprintable()


@RAW_TEXTS
def test_no_text_gets_out_raw_while_tracing(capsys, text):
    """Of open spans, as they are told; whatever says a sentence passes the same door."""
    watched = OpenSpans(1, 1, terminal.say, reads_stacks=False)
    for record in (Thread(2, 3, "user", text), Whose("0x1", 4, "process", 0, text)):
        list(watched.hear(record))
    span = Span("hold", 2, "0x1", "read", 0, 3, text)
    look = Look(10**9, spans=(span,), stacks={"2": [text]}, faulting={"2": Faulting(3, text, [])})
    watched._tell(span, look, terminal.say)
    terminal.say(f"bpftrace: {text}")
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2 and "open for 1.00 s: read hold" in said
    assert is_harmless(said.rstrip("\n"))


LARGE = (2**63, saved.LARGEST, 0)


@pytest.mark.parametrize("name", renderers.FORMATS)
@pytest.mark.parametrize("number", LARGE)
@pytest.mark.parametrize("profile", ["overview", "long-holds"])
def test_no_number_of_a_result_breaks_a_format(name, number, profile):
    found = json.loads(to_json(story.result_of(profile)))
    found["outputs"] = _numbered(found["outputs"], number)
    found["window"] |= {"duration_ns": number, "start": "9999-12-31T23:59:59"}
    renderers.rendered(Series((saved.from_json(json.dumps(found)),)), name, detail=2)


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(one, number) for key, one in value.items()}
    if isinstance(value, list):
        return [_numbered(one, number) for one in value]
    return number if type(value) is int else value


def _styles(text: str) -> list[str]:
    return re.split(r"(\x1b\[[0-9;]*m)", text)


def _filled(text: str) -> Any:
    """A result of every kind of output with the text in place of each hostile name."""
    from dataclasses import replace  # noqa: PLC0415

    whole = replace(made(FULL), verdicts=list(SAID), messages=[HOSTILE])
    found = json.loads(to_json(whole))
    found["profile"]["name"] = found["window"]["start"] = HOSTILE
    found["window"]["command"] = {"argv": [HOSTILE], "status": 1}
    for output in found["outputs"].values():
        output["title"] = HOSTILE
    return _replaced(found, text)


def _replaced(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, text) for one in value]
    return value.replace(HOSTILE, text) if isinstance(value, str) else value
