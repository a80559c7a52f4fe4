"""What the reports say of one known story (tests/story.py), for every shipped profile."""

from dataclasses import replace

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series, judged
from mmaplock_bt.spec import gates, profile
from mmaplock_bt.spec.outputs import Group
from mmaplock_bt.units import format_ns
from tests import story
from tests.builders import histogram_of, made, shown_as_table
from tests.story import NAMES, result_of

MS = story.MS


class ReportSnapshot(SingleFileSnapshotExtension):
    file_extension = "txt"
    _write_mode = WriteMode.TEXT


def shown(name, flavour="full"):
    return shown_as_table(result_of(name, flavour))


def wanted(name):
    """Some gates on all that a profile yields; the limit of p99 lies inside what is observed."""
    outputs = profile.load(name).template.declaration.outputs
    texts = ["books.starts > 0", "loss.lost_events == 0", "warn: books.residue == 0"]
    for output_name, output in outputs.items():
        texts.append(f"{output_name}.count >= 1")
        if output.kind == "events" and getattr(output, "rank", None):
            texts.append(f"{output_name}.max({output.rank}) < 5ms")
        if output.kind in ("histogram", "table"):
            texts.append(f"warn: {output_name}.max < 15ms")
        if output.kind == "histogram":
            texts.append(f"{output_name}.p99 < 17ms")
    return [gates.parse(text, outputs) for text in texts]


def verdicts(name, flavour):
    return judged([result_of(name, flavour)], wanted(name))


@pytest.mark.parametrize("flavour", story.FLAVOURS)
@pytest.mark.parametrize("name", NAMES)
def test_report(name, flavour, snapshot):
    """The whole terminal report and the verdicts: a change in what is said is seen in review."""
    judgement = renderers.named("gates")(verdicts(name, flavour))
    said = f"{shown(name, flavour)}\n{judgement}"
    assert said == snapshot(extension_class=ReportSnapshot)


@pytest.mark.parametrize("name", NAMES)
def test_every_outcome_is_said(name):
    """Pass and fail on the whole story, undecided within a bucket, nothing on a part of it."""
    said = {verdict.outcome for verdict in verdicts(name, "full").verdicts}
    kinds = {output.kind for output in profile.load(name).template.declaration.outputs.values()}
    assert said == {"pass", "fail"} | ({"undecided"} if "histogram" in kinds else set())
    lossy = {verdict.outcome for verdict in verdicts(name, "lossy").verdicts}
    assert lossy == {"fail", "inconclusive"}


def test_the_writers_wait_is_charged_to_the_agent():
    """All 18 ms; of the readers' waits what the agent's hold covers, 1 ms each is the writer's."""
    result = result_of("blame")
    charged = [row for row in result.events("charges") if row["victim_tid"] == 11]
    by_victim = [row for row in charged if row["owner_kind"] == "process"]
    assert [(row["comm"], row["charged_ns"]) for row in by_victim] == [("agent", 18 * MS)]
    assert """
  60.0 ms  smaps/maps/numa_maps
    by agent[20], on victim[10] in /service/victim
    count 4, max 18.0 ms, read 42.0 ms, write 18.0 ms, preempted 3.16 ms, asleep 2.61 ms,
    victims 4, holds 1, hold 20.0 ms
""" in shown_as_table(result)


def test_an_open_wait_is_charged_to_the_open_hold():
    """The agent holds from 140 ms on; until the end at 200 ms two wait, for 50 ms and 30 ms."""
    assert """
  80.0 ms  smaps/maps/numa_maps
    by agent[20], on stuck[70] in …ath/to/the/cgroup/of/a/worker
    count 2, max 50.0 ms, read 30.0 ms, write 50.0 ms, victims 2, holds 1, hold 60.0 ms
""" in shown("blame")


def test_the_starved_writer_is_behind_the_agent():
    text = shown("writer-starvation")
    assert "  18.0 ms write wait: one long hold  mmap  at +21.0 ms\n" in text
    assert "    behind 18.0 ms of a read hold of 20.0 ms by agent[20]: smaps" in text


def test_the_convoy_names_its_writer_and_its_readers():
    assert """
    writers 1, readers 3, readers wait 45.0 ms, readers max 17.0 ms
    writer victim[10] waited 18.0 ms behind it
      write wait of 18.0 ms by victim[10] thread 11
      read  wait of 17.0 ms by victim[10] thread 12
      read  wait of 15.0 ms by victim[10] thread 13
      read  wait of 13.0 ms by victim[10] thread 14
""" in shown("convoys")


def test_the_first_screen_is_the_answer(snapshot):
    text = shown_as_table(result_of("overview"), detail=0)
    assert text == snapshot(extension_class=ReportSnapshot)
    assert len(text.splitlines()) <= 24


def test_the_first_finding_is_the_agent_and_its_victims():
    """60 ms and 80 ms of waiting behind it, in two processes."""
    text = " ".join(shown_as_table(result_of("overview"), detail=0).split())
    assert "1 stuck[70] waited 80.0 ms (40 % of the window) for agent[20], which was" in text
    assert "2 victim[10] waited 60.0 ms (30 % of the window) for agent[20], which was" in text


def test_where_nobody_waited_that_is_one_line():
    lines = shown_as_table(result_of("overview", "empty"), detail=0).splitlines()
    says = "Nobody waited for mmap_lock in this window: it is not the trouble here."
    assert lines[3] == f"1  {says}"


@pytest.mark.parametrize("name", NAMES)
def test_each_number_of_the_books_stands_by_its_word(name):
    """Late holds are open too, but no part of the books."""
    assert """
books: starts 191 + downgrades 11 = acquires 193 + failed 7 + open waits 2;
       releases 179, open holds 3, begun before the window 13, residue 0
""" in shown(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_loss_is_said_with_its_number(name):
    """Two reports of lost events add up; a stack that does not exist is no error."""
    text = " ".join(shown(name, "lossy").split())
    assert text.endswith(
        "loss: INCOMPLETE: lost events 7, map full 3, stack errors 2, unparsed lines 1, give the "
        "profile more map_keys, probes attached 6 of 7, the books do not balance"
    )
    # Four acquisitions too few are missed by those who asked and by those who let go.
    assert "The books do not balance: 8 lock events have no partner" in text
    assert shown(name).endswith("\nloss:  none known\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_starts_no_line_and_no_escape(name):
    """What stands at the margin is ours, and the same as with plain names."""
    text = shown(name, "hostile")
    assert "\x1b" not in text + renderers.named("gates")(verdicts(name, "hostile"))
    said = ["bpftrace: value: é", r"bpftrace: runtime_error: [bold]\x1b[31m\nforged"]
    margin = at_margin(text)
    assert [line for line in margin if line.startswith("bpftrace:")] == said
    assert [line for line in margin if line not in said] == at_margin(shown(name))
    starts = ("[31m", "[bold]", story.FORGED, "loss:  none[")
    assert not [line for line in text.splitlines() if line.strip().startswith(starts)]
    assert max(map(len, text.splitlines())) < 100


def at_margin(text):
    """Findings stand behind their numbers."""
    return [line for line in text.splitlines() if line and not line.startswith((" ", *"123456789"))]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_change_no_number(name):
    """Grouped rows aside: two of one name may be one there."""
    hostile, full = result_of(name, "hostile"), result_of(name)
    assert hostile.books == full.books and hostile.loss == full.loss
    for key, output in profile.load(name).template.declaration.outputs.items():
        if not isinstance(output, Group):
            assert len(hostile.outputs[key].rows) == len(full.outputs[key].rows), key


@pytest.mark.parametrize(("name", "output", "spans", "ns"), [
    ("hold-times", "hold", story.holds(), "hold_ns"),
    ("wait-times", "wait", story.waits(), "wait_ns"),
])  # fmt: skip
def test_a_histogram_says_count_total_and_maximum(name, output, spans, ns):
    """Each from the spans themselves; the quantiles from the rank's own value."""
    for mode in ("read", "write"):
        values = sorted(span[ns] for span in spans if span["mode"] == mode)
        (line, quantiles) = _histogram(name, output, mode)
        assert line.startswith(f"  {mode}  count {len(values)} (")
        assert f"  total {format_ns(sum(values))} (" in line
        assert line.endswith(f"  max {format_ns(values[-1])}")
        assert quantiles == "    p50 12.3 µs–13.3 µs   p99 " + P99[output, mode]
        assert 12_288 <= values[len(values) // 2] <= 13_312


P99 = {("hold", "read"): "18.9 ms–20.0 ms", ("hold", "write"): "10.5 ms–11.1 ms",
       ("wait", "read"): "16.8 ms–17.0 ms", ("wait", "write"): "16.8 ms–18.0 ms"}  # fmt: skip


def _histogram(name, output, mode):
    text = shown(name)
    lines = text[text.index(f"({output})\n") :].splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f"  {mode}  count"))
    return lines[at : at + 2]


def test_shares_are_of_all_waits():
    """Of 90 reads and 92 writes those met somebody that waited for 10 µs or longer."""
    text = shown("overview")
    assert "    read      54  88.6 ms  17.0 ms  60.0 %" in text
    assert "    write     56  55.7 ms  18.0 ms  60.9 %" in text


@pytest.mark.parametrize("name", ["long-holds", "stuck-locks", "writer-starvation"])
def test_ten_rows_are_shown_and_the_rest_counted(name):
    result = result_of(name)
    output, data = next((n, o) for n, o in result.outputs.items() if len(o.rows) > 10)
    text = shown_as_table(result).split(f"({output})\n")[1].split("\n\n")[0]
    assert text.count("\n    by ") == 10
    assert f"\n  … and {len(data.rows) - 10} more (all are in -o FILE.json)" in text


def test_several_runs_are_a_line_each():
    """Told apart by what is missing."""
    runs = (result_of("hold-times"), result_of("hold-times", "lossy"))
    text = renderers.named("table")(Series(runs))
    assert "    1  200 ms, status 0, 193 acquisitions, complete\n" in text
    assert "    2  200 ms, status 0, 189 acquisitions, INCOMPLETE: lost events 7, map " in text


def test_figures_are_not_cut_off_behind_a_long_key():
    """A gate on owner_comm splits a histogram by process, with name and cgroup."""
    key = {
        "mode": "read",
        "owner_pid": 4194303,
        "owner_comm": "fifteen-letters",
        "cgroup": "/a" * 40,
    }
    output = {"kind": "histogram", "unit": "ns", "keys": ["mode", "owner_pid"]}
    row = histogram_of(key, [1_000_003] * 1_234_567)
    result = made({"hold": (output, [row])})
    result = replace(result, window=replace(result.window, duration_ns=10**12))
    shown = renderers.rendered(Series((result,)), "table", width=80)
    text = " ".join(shown.split())
    assert "(123 % of the window)" in text
    assert "fifteen-letters" in text and "/a" * 40 not in text
    assert "count 1,234,567" in text and "max 1.00 ms" in text and "total 1,235 s" in text
