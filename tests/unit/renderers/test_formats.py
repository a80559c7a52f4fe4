"""Every report format, read back by a reader that is not ours."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mmaplock_bt import command_line, renderers
from mmaplock_bt.commands import output
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.judging import verdicts
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import bencher, github, markdown, openmetrics, summary
from mmaplock_bt.result.buckets import histogram_row
from mmaplock_bt.result.model import Result, Verdict
from mmaplock_bt.result.rows import Bucket
from tests.builders import (
    CONTROLS,
    EMPTY,
    FULL,
    NASTY,
    SAID,
    STREAM,
    captured,
    made,
    nasty,
    said,
    scaled,
    with_rows,
)

OF_ANYTHING = tuple(name for name in renderers.FORMATS if name not in renderers.OF_SPANS)
NEW = OF_ANYTHING[3:]
NASTY_SAID = tuple(
    dataclasses.replace(one, gate=NASTY, reason=NASTY, file=NASTY, unit=unit)
    for one in SAID
    for unit in ("ns", "permille", "/s", NASTY)
)
HOSTILE_SERIES = Series((nasty(), nasty()), NASTY_SAID)


def rendered(name: str, *runs: Result, gates: tuple[Verdict, ...] = ()) -> str:
    return renderers.named(name)(Series(runs or (captured(),), gates))


def test_the_command_line_knows_what_there_is():
    assert tuple(renderers.FORMATS) == command_line.FORMATS
    assert verdicts.JUDGES == command_line.JUDGES


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("x.json", ("json", "x.json")),
        ("x.bmf.json", ("bencher", "x.bmf.json")),
        ("x.smaller.json", ("smaller", "x.smaller.json")),
        ("x.txt", ("table", "x.txt")),
        ("x.gates.txt", ("gates", "x.gates.txt")),
        ("a/x.metrics.txt", ("openmetrics", "a/x.metrics.txt")),
        ("x.openmetrics", ("openmetrics", "x.openmetrics")),
        ("x.bench", ("gobench", "x.bench")),
        ("x.bench.txt", ("gobench", "x.bench.txt")),
        ("x.xml", ("junit", "x.xml")),
        ("x.md", ("markdown", "x.md")),
        ("x.html", ("html", "x.html")),
        ("x.annotations", ("github", "x.annotations")),
        ("junit:foo.txt", ("junit", "foo.txt")),
        ("github:-", ("github", "-")),
        ("DIR/", ("folder", "DIR/")),
    ],
)
def test_the_longest_suffix_or_a_name_chooses(written, found):
    assert renderers.for_file(written) == found


def test_an_unknown_suffix_is_a_sentence():
    with pytest.raises(UsageError, match=r"\.bmf\.json"):
        renderers.for_file("x.foo")


def test_the_libraries_wait_until_they_are_used():
    code = (
        "import sys, mmaplock_bt.cli, mmaplock_bt.commands.output;"
        "sys.exit(bool({'junitparser', 'prometheus_client', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", OF_ANYTHING)
@pytest.mark.parametrize("outputs", [{}, EMPTY, FULL], ids=["none", "empty", "hostile"])
@pytest.mark.parametrize("verdicts", [(), SAID], ids=["no gates", "gates"])
def test_every_renderer_over_every_result(name, outputs, verdicts):
    text = renderers.named(name)(Series((made(outputs),), verdicts))
    assert "\x1b" not in text
    assert text.endswith("\n") or not text


@pytest.mark.parametrize("name", NEW)
def test_no_control_character_gets_through(name):
    text = renderers.named(name)(HOSTILE_SERIES)
    text.encode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.endswith("\n")


def junit_case(text: str) -> ElementTree.Element:
    (case,) = ElementTree.fromstring(text).iter("testcase")
    return case


@pytest.mark.parametrize(
    ("outcome", "level", "element"),
    [
        ("pass", "error", "system-out"),
        ("fail", "error", "failure"),
        ("undecided", "error", "error"),
        ("inconclusive", "error", "error"),
        ("pass", "warn", "system-out"),
        ("fail", "warn", "skipped"),
        ("undecided", "warn", "skipped"),
        ("inconclusive", "warn", "skipped"),
    ],
)
def test_junit_outcomes(outcome, level, element):
    case = junit_case(rendered("junit", gates=(said(outcome, level, reason="because"),)))
    (only,) = case
    words = "observed 6.00 ms–7.00 ms, limit < 5.00 ms, 1,234 samples: because"
    assert only.tag == element and words in only.text and only.text.startswith(outcome)
    assert only.get("message", only.text) == only.text
    assert case.attrib == {
        "name": "hold.p99 < 5ms", "classname": "mmaplock-bt.hold-times",
        "file": "budget.yaml", "line": "7",
    }  # fmt: skip


def test_junit_totals():
    gates = (said(), said("pass"), said("undecided"), said("fail", "warn"), said("inconclusive"))
    report = JUnitXml.fromstring(rendered("junit", captured(), captured(), gates=gates).encode())
    (suite,) = report
    for one in (report, suite):
        assert (one.tests, one.failures, one.errors, one.skipped) == (5, 1, 2, 1)
        assert one.time == pytest.approx(2 * 1.03763333)
    assert suite.name == "mmaplock-bt.hold-times"
    assert suite.timestamp == "2026-11-24T09:45:22.907+00:00"
    assert {one.name: one.value for one in suite.properties()} == {
        "kernel": "7.2.13+deb14-cloud-amd64", "bpftrace": "0.27.1", "complete": "yes"
    }  # fmt: skip


def test_junit_without_gates_is_skipped():
    case = junit_case(rendered("junit"))
    assert case.get("name") == "window" and case.find("skipped").text == "no gates"


def test_junit_a_gate_of_the_command_line_has_no_place():
    case = junit_case(rendered("junit", gates=(said(file=None, line=None, column=None),)))
    assert "file" not in case.attrib and "line" not in case.attrib


@pytest.mark.parametrize("character", [*CONTROLS, "]]>", "<![CDATA[", NASTY], ids=ascii)
def test_junit_is_well_formed_whatever_the_names(character):
    gates = (said(gate=f"a{character}b", reason=character, file=character),)
    text = rendered("junit", nasty(), gates=gates)
    (suite,) = JUnitXml.fromstring(text.encode())
    (case,) = suite
    assert case.name == f"a{safe(character)}b"
    assert junit_case(text).find("failure").text.endswith(safe(character))


ANNOTATION = re.compile(r"::(error|warning) ([^:]*)::(.*)")


def unescaped(text: str) -> str:
    """As the runner does it: the percent sign last."""
    for code, character in (("0D", "\r"), ("0A", "\n"), ("3A", ":"), ("2C", ","), ("25", "%")):
        text = text.replace(f"%{code}", character)
    return text


def annotations(text: str) -> list[tuple[str, dict[str, str], str]]:
    found = []
    for line in text.splitlines():
        kind, properties, message = ANNOTATION.fullmatch(line).groups()
        pairs = (pair.split("=", 1) for pair in properties.split(","))
        found.append((kind, {k: unescaped(v) for k, v in pairs}, unescaped(message)))
    return found


@given(st.text(), st.text())
def test_github_escaping_comes_back(title, message):
    line = github.command("error", {"title": title, "line": 3}, message)
    assert "\n" not in line and "\r" not in line
    kind, properties, rest = ANNOTATION.fullmatch(line).groups()
    assert kind == "error" and unescaped(rest) == message
    written = dict(pair.split("=", 1) for pair in properties.split(","))
    assert {k: unescaped(v) for k, v in written.items()} == {"title": title, "line": "3"}


def test_github_annotations_name_the_gate_and_its_place(monkeypatch, tmp_path):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    gates = (said("pass"), said("fail", "warn"), said(gate=NASTY, reason=NASTY), said(file=None))
    first, second, third = annotations(rendered("github", gates=gates))
    place = {"file": "budget.yaml", "line": "7", "col": "3"}
    assert first[0] == "error" and first[1] == place | {"title": safe(NASTY)}
    assert first[2].endswith(safe(NASTY))
    assert second[1] == {"title": "hold.p99 < 5ms"}
    assert third[0] == "warning" and third[1] == place | {"title": "hold.p99 < 5ms"}
    assert third[2] == "fail (warn): observed 6.00 ms–7.00 ms, limit < 5.00 ms, 1,234 samples"


def test_github_names_files_from_the_workspace(monkeypatch, tmp_path):
    (tmp_path / "sub").mkdir()
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "sub")
    files = ("budget.yaml", "../ci/b.yaml", str(tmp_path / "x.yaml"), "/usr/share/x.yaml")
    found = annotations(rendered("github", gates=tuple(said(file=file) for file in files)))
    names = [properties["file"] for _, properties, _ in found]
    assert names == ["sub/budget.yaml", "ci/b.yaml", "x.yaml", "/usr/share/x.yaml"]


def test_github_shows_ten_of_a_kind_the_worst_first():
    levels = [(level, n) for level in ("warn", "error") for n in range(4)]
    outcomes = ("pass", "undecided", "inconclusive", "fail")
    gates = tuple(said(outcome, level) for level, _ in levels for outcome in outcomes)
    found = annotations(rendered("github", gates=gates))
    assert Counter(kind for kind, _, _ in found) == {"error": 10, "warning": 10}
    errors = [message for kind, _, message in found if kind == "error"]
    assert [message.split()[0] for message in errors] == (
        ["fail:"] * 4 + ["inconclusive:"] * 4 + ["undecided:", "3"]
    )
    assert "summary" in errors[-1]
    ten = annotations(rendered("github", gates=(said(),) * 10))
    assert len(ten) == 10 and all("title" in one[1] and "file" in one[1] for one in ten)


def test_github_says_nothing_where_all_pass():
    assert rendered("github", gates=(said("pass"), said("pass", "warn"))) == ""


def tokens(text: str) -> list:
    return MarkdownIt("commonmark").enable("table").parse(text)


def rows_of_cells(text: str) -> list[list[str]]:
    """The tables' rows as a Markdown reader sees them."""
    rows: list[list[str]] = []
    flat = tokens(text)
    for before, token in pairwise(flat):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def cells_on_github(line: str) -> int:
    """GitHub pairs backslashes from the left, so that \\\\| ends a cell there."""
    return len(re.sub(r"\\.", "", line).split("|")) - 2


def kinds(text: str) -> set[str]:
    """What is in the running text besides words and code."""
    inline = (child.type for token in tokens(text) for child in token.children or ())
    return set(inline) - {"text", "code_inline", "softbreak"}


def test_markdown_tables_keep_their_shape():
    text = renderers.named("markdown")(HOSTILE_SERIES)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == (2 + len(NASTY_SAID)) + (2 + 1)
    assert {cells_on_github(line) for line in lines} == {6}
    assert {len(row) for row in rows_of_cells(text)} == {6}
    assert not kinds(text)


@given(st.text(alphabet='|`\\ <>@[]()!*_~#&:/.w"\n-ab0', max_size=12))
def test_markdown_no_text_leaves_its_cell(text):
    shown = rendered("markdown", gates=(said(gate=f"x{text}", reason=text),))
    rows = rows_of_cells(shown)
    assert {len(row) for row in rows} == {6} and not kinds(shown)
    lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert {cells_on_github(line) for line in lines} == {6}
    if "\\|" not in safe(text):  # a backslash before a bar may become two
        assert rows[1][1] == safe(f"x{text}")


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("the limit lies inside the observed interval", True),
        ("2 of 3 runs: 1,234 events lost", True),
        ("5 samples, fewer than min_samples 10", True),
        ("3.67 ms–3.93 ms", True),
        ("ask @someone", False),
        ("see www.a.b", False),
        ("see http://a.b", False),
        ("a _b_", False),
        (":smile:", False),
        ("#12", False),
        ("<b>", False),
    ],
)
def test_markdown_only_plain_words_stand_outside_code(text, is_plain):
    assert markdown.words(text) == (text if is_plain else f"`{text}`")


def test_markdown_says_the_numbers():
    text = rendered("markdown", gates=(said(), said("pass"), said("fail", "warn")))
    rows = rows_of_cells(text)
    assert rows[1][:2] == ["❌ fail", "hold.p99 < 5ms"]
    assert rows[1][2:] == ["6.00 ms–7.00 ms", "< 5.00 ms", "1,234", ""]
    assert [row[0] for row in rows[2:4]] == ["✅ pass", "⚠️ fail (warn)"]
    assert rows[-1] == ["hold{mode=write}", "182", "41.0 µs", "2.47 ms", "2.47 ms", "29.0 ms"]
    assert "Complete: no loss is known and the books balance; 396 acquisitions in 1.04 s." in text
    assert text.startswith("## mmaplock-bt: hold-times\n\nLinux 7.2.13+deb14-cloud-amd64 · ")
    assert "`python3 mmaplock_bt/workload.py munmaps 23`: status 0" in text


def test_markdown_says_what_is_missing():
    run = captured()
    lossy = dataclasses.replace(run, loss=dataclasses.replace(run.loss, map_full=3, complete=False))
    text = rendered("markdown", run, lossy, run)
    assert "Incomplete: 1 of 3 runs; 1,188 acquisitions in 3.11 s:" in text
    assert "- ⚠️ run 2: INCOMPLETE: map full 3, give the profile more map_keys" in text
    assert "medians of 3 runs" in text


def test_markdown_never_says_more_than_github_takes():
    text = rendered("markdown", gates=(said(reason="µ" * 1000),) * 1000)
    assert len(text.encode()) <= markdown.LIMIT_BYTES
    assert text.endswith("cut off here: a summary holds no more than 1,024 KiB.\n")
    assert {len(row) for row in rows_of_cells(text)} == {6}


@given(st.lists(st.text(alphabet="aé✅", max_size=30)), st.integers(0, 300))
def test_markdown_is_cut_at_a_lines_end(lines, room):
    text = "".join(f"{line}\n" for line in lines)
    cut = markdown.shortened(text, room)
    assert len(cut.encode()) <= room
    if cut != text:
        kept, sentence, rest = cut.partition("\nThe rest was cut off here")
        assert not cut or (sentence and rest)
        assert text.startswith(kept) and (not kept or kept.endswith("\n"))


def deliver(path: Path, *, gates: tuple[Verdict, ...] = (), force: bool = False) -> None:
    wanted = output.Outputs([("markdown", str(path))], None, "none", force=force)
    output.deliver_series(wanted, Series((captured(),), gates))


def test_the_steps_summary_is_appended_to(monkeypatch, tmp_path):
    path = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    path.write_text("before")
    deliver(path)
    deliver(path)
    text = path.read_text()
    assert text.startswith("before\n## mmaplock-bt") and text.count("## mmaplock-bt") == 2
    path.write_text("x" * (markdown.LIMIT_BYTES - 400))
    deliver(path, gates=(said(),) * 99)
    assert path.stat().st_size <= markdown.LIMIT_BYTES
    assert "The rest was cut off here" in path.read_text()


def test_other_files_are_written_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    deliver(tmp_path / "x.md")
    deliver(tmp_path / "x.md", force=True)
    assert (tmp_path / "x.md").read_text().count("## mmaplock-bt") == 1


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    assert text.endswith("# EOF\n")
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


WRITE = (("mode", "write"),)


def test_openmetrics_in_base_units():
    gates = (said("pass"), said("fail", "warn", gate="hold.max < 1us"))
    found = samples(rendered("openmetrics", gates=gates))
    assert found["mmaplock_hold_p99_seconds", WRITE] == 0.002470071
    assert found["mmaplock_hold_max_seconds", WRITE] == 0.002470071
    assert found["mmaplock_hold_samples", WRITE] == 182
    assert found["mmaplock_hold_sum_seconds", WRITE] == 0.028982164
    assert found["mmaplock_complete", ()] == 1
    passed = {dict(labels)["gate"]: v for (n, labels), v in found.items() if "gate" in n}
    assert passed == {"hold.p99 < 5ms": 1, "hold.max < 1us": 0}


def test_openmetrics_takes_the_median_and_leaves_out_what_is_not_measured():
    run = captured()
    found = samples(rendered("openmetrics", scaled(run, 5), run, scaled(run, 3)))
    assert found["mmaplock_hold_max_seconds", WRITE] == 0.007410213
    row = histogram_row({}, [Bucket(4, None, 1)], None, None)
    half = made({"x": ({"kind": "histogram", "unit": "ns"}, [row])})
    lossy = dataclasses.replace(half, loss=dataclasses.replace(half.loss, complete=False))
    assert samples(rendered("openmetrics", lossy)) == {
        ("mmaplock_x_samples", ()): 1, ("mmaplock_complete", ()): 0
    }  # fmt: skip


def test_openmetrics_whatever_the_names():
    found = samples(renderers.named("openmetrics")(HOSTILE_SERIES))
    for level in ("error", "warn"):
        labels = (("gate", openmetrics.label(NASTY)), ("level", level))
        assert found["mmaplock_gate_passed", labels] == 0
    assert found["mmaplock_t_max_seconds", (("cause", openmetrics.label(NASTY)),)] == 2e-9


@pytest.mark.parametrize("series", [HOSTILE_SERIES, Series((captured(),), SAID)])
def test_openmetrics_as_gitlab_reads_it(series):
    """Comments off each line, then the words as a shell sees them: a name and a value."""
    text = renderers.named("openmetrics")(series)
    lines = [re.sub("#.*", "", line) for line in text.splitlines()]
    found = [shlex.split(line) for line in lines if line]
    assert {len(words) for words in found} == {2}
    assert len({name for name, _ in found}) == len(found) == len(samples(text))
    assert all(float(value) >= 0 for _, value in found)


BMF = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {
        "^.{1,1024}$": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {
                "^.{1,64}$": {
                    "type": "object",
                    "required": ["value"],
                    "additionalProperties": False,
                    "properties": {
                        name: {"type": "number"} for name in ("value", "lower_value", "upper_value")
                    },
                }
            },
        }
    },
}
SMALLER = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
        "properties": {"value": {"type": "number"}}
        | {name: {"type": "string"} for name in ("name", "unit", "range", "extra")},
    },
}


@pytest.mark.parametrize(("name", "schema"), [("bencher", BMF), ("smaller", SMALLER)])
@pytest.mark.parametrize("series", [HOSTILE_SERIES, Series((captured(),)), Series((made({}),))])
def test_json_formats_keep_their_schema(name, schema, series):
    jsonschema.validate(json.loads(renderers.named(name)(series)), schema)


def test_bencher_median_and_ends():
    run = captured()
    found = json.loads(rendered("bencher", run))
    assert found["hold-times/hold{mode=write}"]["p99"] == {
        "value": 2470071, "lower_value": 2359296, "upper_value": 2470071
    }  # fmt: skip
    assert found["hold-times/hold{mode=write}"]["count"]["value"] == 182
    found = json.loads(rendered("bencher", scaled(run, 5), run, scaled(run, 3)))
    assert found["hold-times/hold{mode=write}"]["max"] == {
        "value": 7410213, "lower_value": 2470071, "upper_value": 12350355
    }  # fmt: skip


def test_bencher_names_fit_and_stay_different():
    names = {bencher.short("x" * 2000 + end, bencher.NAME) for end in "ab"}
    assert {len(name) for name in names} == {1024} and len(names) == 2
    assert bencher.short("x" * 1024, bencher.NAME) == "x" * 1024


def test_open_ends_and_unmeasured_runs():
    """Of four runs two were measured, one has an open upper end, one had nothing to measure."""
    run = captured()
    row = histogram_row({"mode": "write"}, [Bucket(1 << 20, None, 1)], None, None)
    open_run = with_rows(run, "hold", [row])
    runs = (made({}), run, run, open_run)
    p99 = json.loads(rendered("bencher", *runs))["hold-times/hold{mode=write}"]["p99"]
    assert p99 == {"value": 2470071, "lower_value": 1 << 20}
    assert "hold{mode=write}.p99" not in {one.metric.text for one in summary.summaries([open_run])}
    entries = {one["name"]: one for one in json.loads(rendered("smaller", *runs))}
    assert "range" not in entries["hold-times/hold{mode=write}.p99"]
    open_run = with_rows(run, "hold", [row | {"buckets": [Bucket(None, 7, 1)]}])
    p99 = json.loads(rendered("bencher", run, open_run))["hold-times/hold{mode=write}"]["p99"]
    assert p99 == {"value": 2470071, "upper_value": 2470071}


def test_smaller_has_times_and_events_only():
    entries = {one["name"]: one for one in json.loads(rendered("smaller"))}
    assert entries["hold-times/hold{mode=write}.p99"] == {
        "name": "hold-times/hold{mode=write}.p99", "unit": "ns", "value": 2470071,
        "range": "± 55387.5",
        "extra": "182 samples, 1 run, Linux 7.2.13+deb14-cloud-amd64, bpftrace 0.27.1",
    }  # fmt: skip
    assert not any(name.endswith(".count") for name in entries)
    forks = STREAM.with_name(STREAM.name.replace("munmaps", "forks"))
    found = json.loads(rendered("smaller", captured(forks)))
    assert [one for one in found if one["name"].endswith(".count")] == [
        {
            "name": "long-holds/long_holds.count", "unit": "events", "value": 58, "range": "± 0",
            "extra": "58 samples, 1 run, Linux 7.2.13+deb14-cloud-amd64, bpftrace 0.27.1",
        }
    ]  # fmt: skip


KEY = re.compile(r"([a-z][^\sA-Z:]*):(?:[ \t]+(.*))?")


def benchmarks(text: str) -> list[tuple[dict[str, str], str, int, dict[str, float]]]:
    """A strict reader of the format: no line is ignored."""
    found, config, better = [], {}, {}
    for line in text.splitlines():
        fields = line.split()
        if line.startswith("Benchmark"):
            name, iterations, *rest = fields
            assert re.fullmatch(r"Benchmark[^a-z]\S*-\d+", name) and len(rest) % 2 == 0 < len(rest)
            values = dict(zip(rest[1::2], map(float, rest[::2]), strict=True))
            assert len(values) == len(rest) / 2
            found.append((dict(config), name, int(iterations), values))
        elif fields[0] == "Unit":
            better |= {fields[1]: dict(pair.split("=", 1) for pair in fields[2:])}
        else:
            key, value = KEY.fullmatch(line).groups()
            config[key] = value
    for _, _, _, values in found:
        times = {unit for unit in values if unit.endswith("-ns")}
        assert all(better[unit] == {"better": "lower"} for unit in times)
    return found


def test_gobench_has_a_line_per_run_and_key():
    run = captured()
    slow = dataclasses.replace(scaled(run, 3), target=dataclasses.replace(run.target, kernel="9 x"))
    first, second, third, fourth, *rest = benchmarks(rendered("gobench", run, run, slow))
    config = {"profile": "hold-times", "kernel": "7.2.13+deb14-cloud-amd64",
              "bpftrace": "0.27.1", "cpus": "1"}  # fmt: skip
    assert [one[1] for one in (first, second)] == ["BenchmarkHold/mode=read-1",
                                                   "BenchmarkHold/mode=write-1"]  # fmt: skip
    assert (third, fourth) == (first, second)
    values = {"p50-ns": 40959, "p99-ns": 2470071, "max-ns": 2470071, "sum-ns": 28982164,
              "count": 182}  # fmt: skip
    assert second[0] == config and second[2:] == (182, values)
    assert [one[0] for one in rest] == [config | {"kernel": "9 x"}] * 2
    assert rest[1][3]["max-ns"] == 7410213
    assert rendered("gobench", run, run, slow).count("profile: ") == 1


def test_gobench_whatever_the_names():
    found = benchmarks(renderers.named("gobench")(HOSTILE_SERIES))
    assert len(found) == 2 and found[0][0]["kernel"] == safe(NASTY)
    assert found[0][1].count("/") == 1 and found[0][3]["max-ns"] == 2


def test_gobench_without_measures():
    assert benchmarks(rendered("gobench", made({}))) == []
