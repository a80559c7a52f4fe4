"""A fault of the tool's own has an exit code of its own, and loses nothing of what was traced."""

import re
import stat
from pathlib import Path

import pytest

from mmaplock_bt import workload
from tests.builders import TESTS
from tests.kernel.results import loaded

pytestmark = pytest.mark.kernel
# In front of everything; {then} breaks a stage.
BROKEN = """
from mmaplock_bt import renderers
from mmaplock_bt.analysis import books
from mmaplock_bt.stream.identities import Identities
def broken(*_, **__):
    raise KeyError("a fault that was put there")
def late(self, record):
    if type(record).__name__ == "MapDump":  # once all is traced
        raise KeyError("a fault that was put there")
    return False
{then}
"""
STAGES = {
    "a record": "Identities.note = late",
    "the books": "books.kept = broken",
    "the report": "renderers.rendered = broken",
}


@pytest.fixture
def broken(cli, kernel, tmp_path):
    """Runs hold-times of 1009 munmaps where a stage is broken; returns what was kept."""

    def run(stage: str) -> tuple[Path, str]:
        (tmp_path / "sitecustomize.py").write_text(BROKEN.format(then=STAGES[stage]))
        variables = {"PYTHONPATH": f"{tmp_path}:{TESTS.parent}", "TMPDIR": str(tmp_path)}
        words = ("hold-times", "--gate", "hold.count < 1", "--", *workload.command("munmaps", 1009))
        done = cli("run", *words, env=variables)
        assert done.returncode == 70, done.stderr
        said = [line for line in done.stderr.splitlines() if line.startswith("mmaplock-bt: ")]
        assert len(said) == 1 and "Traceback" not in done.stderr
        assert "a fault of mmaplock-bt itself" in said[0] and "KeyError" in said[0]
        found = re.search(r"kept in (\S+):", said[0])
        assert found is not None
        assert list(tmp_path.glob("mmaplock-bt-*")) == [Path(found[1])], "and nothing else is left"
        return Path(found[1]), done.stderr

    return run


@pytest.mark.parametrize("stage", ["a record", "the books"])
def test_the_stream_is_kept_and_reported_again(broken, cli, stage):
    folder, _ = broken(stage)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "put there" in (folder / "fault.txt").read_text()
    again = cli("report", str(folder / "raw.ndjson"), "--format", "json")
    assert again.returncode == 0, again.stderr
    books = loaded(again.stdout).books
    assert books.residue == 0 and books.downgrades >= 1009


def test_the_result_is_kept_where_the_report_is_broken(broken):
    folder, _ = broken("the report")
    assert "put there" in (folder / "fault.txt").read_text()
    result = loaded((folder / "result.json").read_text())
    assert result.books.downgrades >= 1009 and result.verdicts[0].outcome == "fail"


def test_the_result_is_kept_where_there_is_no_room_for_it(cli, kernel, tmp_path):
    done = cli("run", "hold-times", "-o", "json:/dev/full", "--format", "none", "--",
               *workload.command("munmaps", 101), env={"TMPDIR": str(tmp_path)})  # fmt: skip
    assert done.returncode == 2 and "cannot write /dev/full: No space left" in done.stderr
    (kept,) = tmp_path.glob("mmaplock-bt-kept-*/result.json")
    assert loaded(kept.read_text()).books.downgrades >= 101 and str(kept.parent) in done.stderr


def test_a_raw_stream_without_room_is_told_and_the_result_is_there(cli, kernel):
    done = cli("run", "hold-times", "--save-raw", "/dev/full", "--", "true")
    assert done.returncode == 2 and "nothing is known to be missing" in done.stdout
    assert "cannot write --save-raw /dev/full: No space left" in done.stderr
