"""No option is ignored without a word: each that would say nothing is refused by its name."""

import pytest

from mmaplock_bt.judging import series
from tests.builders import gate, run

TRAP = ("run", "blame", "--trap", "hold > 50ms")
CASES = [
    (("run", "--capture", "10s"), "--capture is about a trap: give --trap"),
    (("run", "--captures", "5"), "--captures is about a trap"),
    (("run", "--max-disk", "1GiB"), "--max-disk is about a trap"),
    (("run", "--keep", "200"), "--keep is about a trap"),
    (("run", "--trap-dir", "x"), "--trap-dir is about a trap"),
    (("run", "--min-samples", "5"), "--min-samples is what every --gate wants"),
    (("run", "--budget", "b", "--min-samples", "5"), "write min_samples beside the gate"),
    (("check", "long-holds", "--min-samples", "5"), "--min-samples"),
    (("gate", "r.json", "--min-samples", "5"), "--min-samples"),
    (("run", "--judge", "worst", "--gate", "starts.count > 0"), "--judge is about several runs"),
    (("run", "-d", "1s", "--repeat", "2", "--judge", "worst"), "--judge is about gates"),
    (("run", "--system-wide"), "--system-wide is about a COMMAND"),
    (("run", "--descendants"), "--descendants of which process?"),
    (("run", "--comm", "x", "--descendants"), "--descendants of which process?"),
    (("script", "long-holds", "--descendants"), "--descendants of which process?"),
    (("run", "--descendants", "--", "true"), "a COMMAND's are traced anyway"),
    (("run", "-p", "1", "--", "true"), "give --system-wide to trace that one"),
    (("run", "--container", "x", "--", "true"), "--container names another: give --system-wide"),
    (("run", "--unit", "x", "-p", "1", "--", "true"), "-p and --unit names another"),
    (("run", "--engine", "tracefs", "--bpftrace", "x"), "--engine tracefs takes no --bpftrace"),
    (("selftest", "--engine", "tracefs", "--bpftrace", "x"), "takes no --bpftrace"),
    (("run", "--force"), "--force writes over files"),
    (("run", "-d", "5s", "-d", "6s"), "argument -d/--duration: given twice"),
    (("run", "--mode", "read", "--mode=write"), "argument --mode: given twice"),
    (("report", "x", "--format", "json", "--format", "json"), "argument --format: given twice"),
    (
        ("run", "blame", "--set", "threshold=1ms", "--set", "threshold=2ms"),
        "threshold is set twice",
    ),
    ((*TRAP, "--trap", "hold > 60ms"), "there is a limit for a hold already"),
    ((*TRAP, "--format", "json"), "--trap takes no --format"),
    ((*TRAP, "--judge", "worst"), "--trap takes no --judge"),
    ((*TRAP, "--add"), "--trap takes no --add"),
    ((*TRAP, "-v"), "--trap takes no --verbose"),
    ((*TRAP, "--live"), "--trap takes no --live"),
    (("run", "--live", "--quiet"), "--live shows what --quiet keeps still"),
    (("run", "--refresh", "2s"), "--refresh is about --live"),
    (("report", "x", "--", "true"), "report takes no COMMAND after --"),
    (("run", "blame", "--locks", "contended", "--comm", "x"), "takes no actor filter"),
    (("run", "blame", "--locks", "contended", "--mode", "read"), "takes no mode filter"),
]


@pytest.mark.parametrize(("words", "said"), CASES, ids=[" ".join(c[0]) for c in CASES])
def test_what_would_be_ignored_is_refused(cli, words, said):
    done = cli(*words)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_all_that_would_be_ignored_is_told_at_once(cli):
    said = cli("run", "--capture", "5s", "--system-wide", "--judge", "worst").stderr
    assert all(option in said for option in ("--capture", "--system-wide", "--judge"))


def test_how_one_run_is_judged_is_not_asked(cli, tmp_path):
    one = series.with_verdicts(run(5), [gate("hold.p99 < 1s")])
    path = series.save(one, tmp_path)
    done = cli("gate", str(path), "--judge", "worst")
    assert done.returncode == 2 and f"{path} holds one" in done.stderr
    series.save(one, tmp_path)
    assert cli("gate", str(tmp_path), "--judge", "worst").returncode == 0
