"""Findings in reports: first, whole, harmless, and on one screen."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import renderers
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import findings
from mmaplock_bt.result.model import Finding
from mmaplock_bt.spec import causes
from tests import builders

LINES, COLUMNS = 24, 80
PEOPLE = ("table", "markdown", "github", "junit")
SENTENCE = (
    "fifteen-letters[4194303] waited 179 ms (18 % of the window) for 1,009 processes named "
    "another-fifteen, which were reading /proc/PID/smaps, maps or numa_maps: 1,009 holds, every "
    "2.00 s, the longest wait 47.0 ms."
)


def finding(sentence=SENTENCE, **changes):
    plain = {
        "harm": "waited", "sentence": sentence, "victim": "v", "culprit": "c", "cause": "fork",
        "total_ns": 179, "longest_ns": 47, "count": 29, "period_ns": None, "share_permille": 179,
        "sure": "exact", "remedy": "Do it less often.",
        "next": ["run", "blame", "-p", "4194303"],
    }  # fmt: skip
    return Finding(**plain | changes)


def result_with(*found, **changes):
    return replace(builders.captured(), findings=list(found), **changes)


def shown(result, name="table", **options):
    return renderers.rendered(Series((result,), tuple(result.verdicts)), name, **options)


def test_three_findings_fit_on_one_screen():
    """With the longest remedy that there is."""
    remedies = [one.do for cause in causes.causes().values() for one in cause.remedies]
    longest = max(remedies, key=len)
    one = finding(remedy=longest, sure="at least")
    bare = {name: replace(o, hidden=True) for name, o in builders.captured().outputs.items()}
    text = shown(result_with(one, one, one, one, outputs=bare), width=COLUMNS)
    lines = text.splitlines()
    assert len(lines) <= LINES, text
    assert "helps:" in text and text.count("waited 179 ms") == 3
    # What is pasted is one line, however long.
    assert all(len(line) <= COLUMNS for line in lines if "next:" not in line)
    assert "… and 1 smaller (-v shows all)" in text


def test_the_answer_comes_before_everything_else():
    text = shown(result_with(finding("A waited for B.")))
    head, _, rest = text.partition("A waited for B.")
    assert len(head.splitlines()) <= 4 and "helps: Do it less often." in rest
    assert rest.index("mmaplock-bt run blame -p 4194303") < rest.index("Complete")


@pytest.mark.parametrize("name", PEOPLE)
def test_every_report_for_people_has_sentence_remedy_and_next_command(name):
    failed = result_with(finding("A waited for B."), verdicts=[builders.said()])
    text = shown(failed, name)
    for words in ("A waited for B.", "Do it less often.", "run blame -p 4194303"):
        assert words in text


@pytest.mark.parametrize("name", PEOPLE)
def test_a_hostile_name_is_harmless(name):
    failed = result_with(finding(builders.NASTY, remedy=""), verdicts=[builders.said()])
    text = shown(failed, name)
    assert "\x1b" not in text and "\x07" not in text
    if name == "github":  # each a line, none a command of its own
        lines = text.splitlines()
        assert all(line.startswith(("::notice", "::error", "::warning")) for line in lines)


def test_how_sure_it_is_is_said():
    said = [next(findings.sentences(result_with(finding("S.", sure=sure)))) for sure in
            ("exact", "at least", "estimated")]  # fmt: skip
    assert said[0].startswith("S. What")
    assert "S. (at least that)" in said[1]
    assert "S. (an estimate)" in said[2]
    calm = finding("Nobody waited.", harm="calm", sure="at least", remedy="", next=[])
    assert list(findings.sentences(result_with(calm))) == ["Nobody waited. (as far as was seen)"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4)
)
def test_a_shell_reads_the_pasted_command_as_the_same_words(words):
    line = findings.pasted(["printf", "%s\\0", *words])
    assert line.isprintable()
    script = ["bash", "-c", line]
    said = subprocess.run(script, capture_output=True, check=True, env={"LC_ALL": "C"}).stdout
    told = [word.encode("utf-8", "surrogatepass") for word in words] or [b""]
    assert said == b"".join(word + b"\0" for word in told)


def test_details_are_options_away():
    result = result_with(finding())
    declared = {
        name: one.model_copy(update={"detail": at % 3})
        for at, (name, one) in enumerate(result.declarations.items())
    }
    result = replace(result, declarations=declared)
    told = [name for name, one in result.outputs.items() if not one.hidden]
    for detail in range(3):
        text = shown(result, detail=detail)
        for name in told:
            assert (f"({name})" in text) == (declared[name].detail <= detail)
        assert ("books:" in text) == (detail > 0)


def test_books_and_loss_are_told_in_full_where_something_is_missing():
    loss = replace(builders.captured().loss, lost_events=7, complete=False)
    text = shown(result_with(finding(), loss=loss))
    assert "books:" in text and "INCOMPLETE: lost events 7" in text


def test_what_is_next_to_nothing_beside_the_worst_is_an_option_away():
    result = result_with(finding("A.", total_ns=5000), finding("B.", total_ns=100),
                         finding("C.", total_ns=99))  # fmt: skip
    text = shown(result)
    assert "1  A." in text and "2  B." in text and "3  C." not in text
    assert "… and 1 smaller (-v shows all)" in text
    assert "3  C." in shown(result, detail=1)


def test_of_several_runs_the_worst_is_told():
    quiet = result_with(finding("Nobody waited.", harm="calm", total_ns=0))
    bad = result_with(finding("A waited for B.", total_ns=9))
    text = renderers.rendered(Series((quiet, bad, quiet), ()), "table")
    assert "The worst run's findings (run 2):" in text and "A waited for B." in text
