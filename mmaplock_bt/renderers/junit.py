"""JUnit XML: a case for each gate. Everything is in elements' texts: some readers show no more."""

import io

from junitparser import (
    Attr,
    Error,
    Failure,
    JUnitXml,
    Skipped,
    TestCase,
    TestSuite,
)

from mmaplock_bt.escaping import safe
from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers import findings
from mmaplock_bt.renderers.wording import told
from mmaplock_bt.result.model import Verdict

# What XML 1.0 forbids is not printable, so `safe` leaves nothing of it.
Unmet = Failure | Error | Skipped
_UNMET: dict[str, type[Unmet]] = {"fail": Failure, "undecided": Error, "inconclusive": Error}


class Case(TestCase):
    """A test case with the place where the gate was written."""

    file = Attr()
    line = Attr()


def render(series: Series) -> str:
    """Renders the verdicts as JUnit XML."""
    suite = TestSuite(f"mmaplock-bt.{safe(series.last.profile.name)}")
    suite.timestamp = safe(series.runs[0].window.start)
    for name, value in _properties(series).items():
        suite.add_property(name, safe(value))
    found = "".join(f"\n{safe(one)}" for one in findings.sentences(findings.worst(series.runs)))
    suite.add_testcases(
        [_case(suite.name, said, found) for said in series.verdicts] or [_none(suite.name, found)]
    )
    return _text(suite, sum(run.window.duration_ns for run in series.runs) / 10**9)


def _properties(series: Series) -> dict[str, str]:
    target = series.last.target
    return {
        "kernel": target.kernel,
        "bpftrace": target.bpftrace,
        "complete": "yes" if series.is_complete else "no",
    }


def _case(suite: str, said: Verdict, found: str) -> Case:
    """A warning becomes a skipped case: it never fails a pipeline.

    `found`: the findings, for a case that did not pass.
    """
    case = Case(safe(said.gate), suite)
    if said.file is not None:
        case.file = safe(said.file)
        case.line = str(said.line or 1)
    text = safe(told(said))
    if said.outcome == "pass":
        case.system_out = text
    else:
        kind = Skipped if said.level == "warn" else _UNMET[said.outcome]
        case.result = _unmet(kind, text + found, said.outcome)
    return case


def _none(suite: str, found: str) -> Case:
    case = Case("window", suite)
    case.result = _unmet(Skipped, "no gates" + found, "skipped")
    return case


def _unmet(kind: type[Unmet], text: str, outcome: str) -> Unmet:
    found = kind(text, outcome)
    found.text = text
    return found


def _text(suite: TestSuite, seconds: float) -> str:
    """Sets the time of the whole: the library would sum the cases', which have none."""
    report = JUnitXml()
    report.add_testsuite(suite)
    report.update_statistics()
    suite.time = report.time = seconds
    written = io.BytesIO()
    report.write(written)
    return written.getvalue().decode() + "\n"
