"""Gates on the running kernel: a known slow fork, nothing at all, and what goes wrong."""

import json
import os
import re
import signal

import pytest

from mmaplock_bt import workload
from mmaplock_bt.judging import series
from tests.kernel.processes import bpftrace_of, started

pytestmark = pytest.mark.kernel
FORKS = ("--", *workload.command("forks", 23, 128))


def outcomes(text: str) -> dict[str, str]:
    """Gate -> outcome, as the report ends with them."""
    found = re.findall(r"^  (pass|FAIL|warning|undecided|inconclusive) +(.*)$", text, re.MULTILINE)
    return {gate: outcome for outcome, gate in found}


def test_a_slow_fork_passes_a_loose_gate_and_fails_a_tight_one(cli, kernel, tmp_path):
    saved = tmp_path / "r.json"
    gates = {
        "hold{mode=write}.max < 10s": "pass",
        "hold{mode=write}.max < 20us": "FAIL",
        "hold{mode=write}.count >= 46": "pass",
        "hold{mode=write,owner_kind=fork_child}.count == 23": "pass",
        "warn: hold.rate < 1/s": "warning",
    }
    words = [word for gate in gates for word in ("--gate", gate)]
    done = cli("run", "hold-times", *words, "-o", str(saved), *FORKS)
    assert done.returncode == 1, done.stdout + done.stderr
    shown = outcomes(done.stdout)
    assert shown.pop("hold.rate < 1/s  (warn)") == "warning"
    assert shown == {gate: said for gate, said in gates.items() if "warn" not in gate}
    result = series.load(str(saved))[0]
    assert [verdict.level for verdict in result.verdicts] == ["error"] * 4 + ["warn"]
    # The limit put inside the bucket that was measured: neither pass nor fail.
    (row,) = [
        row for row in result.outputs["hold"].rows
        if row["key"]["mode"] == "write" and row["key"]["owner_kind"] == "fork_child"
    ]  # fmt: skip
    low, high = row["quantiles"]["p50"]
    assert low < high
    limit = f"hold{{mode=write,owner_kind=fork_child}}.p50 < {(low + high) // 2}ns"
    again = cli("gate", str(saved), "--gate", limit)
    assert again.returncode == 5 and outcomes(again.stdout) == {limit: "undecided"}
    assert cli("gate", str(saved)).returncode == 1, "without words: the gates it was made with"


def test_a_failed_command_hides_no_gate(cli, kernel):
    run = ("run", "hold-times", "--format", "none", "--gate", "warn: hold.count == 0", "--gate")
    for gate, code in (("hold.count == 0", 1), ("hold.max < 10s", 6)):
        assert cli(*run, gate, "--", "sh", "-c", "exit 7").returncode == code


def test_an_idle_machine_is_inconclusive(cli, kernel):
    gates = ("hold.max < 10s", "hold.p99 < 10s", "hold.count == 0", "hold.rate < 5/s")
    words = [word for gate in gates for word in ("--gate", gate)]
    # Nothing on this machine has such a name.
    done = cli("run", "hold-times", "-d", "300ms", "--comm", "no-such-name", *words)
    assert done.returncode == 5, done.stdout
    assert outcomes(done.stdout) == dict.fromkeys(gates, "inconclusive")


def test_a_killed_bpftrace_is_inconclusive(kernel):
    run = started("hold-times", "--gate", "hold.max < 10s", "--format", "json")
    os.kill(bpftrace_of(run), signal.SIGKILL)
    run.wait(timeout=60)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 5
    assert "bpftrace ended" in err
    assert json.loads(out)["verdicts"][0]["outcome"] == "inconclusive"


def test_an_interrupted_command_is_inconclusive(kernel):
    run = started("hold-times", "--gate", "hold.max < 10s", "--format", "gates")
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 5 and "the command was interrupted" in out


def test_a_full_map_is_inconclusive(cli, kernel, tmp_path):
    (tmp_path / "small.yaml").write_text("extends: hold-times\nmap_keys: 64\n")
    done = cli("run", str(tmp_path / "small.yaml"), "--gate", "hold.max < 10s",
               "--", *workload.command("forks", 80, 1))  # fmt: skip
    assert done.returncode == 5, done.stdout
    assert "map full" in done.stdout


def test_the_gate_of_one_owner_counts_its_waits_alone(cli, kernel, tmp_path):
    """`wait{mode=read,owner_comm=...}`: the histogram is split where a gate asks for it."""
    saved = tmp_path / "r.json"
    argv = workload.command("smaps", 3, 64)  # an agent beside the process whose smaps it reads
    gate = "wait{mode=read,owner_comm=agent}.max <= 10s"
    done = cli("run", "wait-times", "--gate", gate, "-o", str(saved), "--", *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    result = series.load(str(saved))[0]
    by_name: dict[str, int] = {}
    for row in result.outputs["wait"].rows:
        if row["key"]["mode"] == "read":
            name = row["key"]["owner_comm"]
            by_name[name] = by_name.get(name, 0) + row["count"]
    assert result.verdicts[0].samples == by_name["agent"] > 0
    everyone = sum(row["count"] for row in result.outputs["owners"].rows)
    assert sum(row["count"] for row in result.outputs["wait"].rows) == everyone


def test_repeated_runs_are_kept_and_judged_together(cli, kernel, tmp_path):
    kept = tmp_path / "runs"
    gates = ("--gate", "hold{mode=write}.max < 10s", "--gate", "hold{mode=write}.count >= 6")
    done = cli("run", "hold-times", "--repeat", "3", *gates, "-o", f"{kept}/",
               "--", *workload.command("forks", 3, 16))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in kept.iterdir()) == [f"run-00{n}.json" for n in (1, 2, 3)]
    runs = series.load(str(kept))
    assert all(run.loss.complete and len(run.verdicts) == 2 for run in runs)
    assert set(outcomes(done.stdout).values()) == {"pass"}
    assert "median of 3 runs" in done.stdout
    counts = [run.verdicts[1].observed[0] for run in runs]
    for how, code in (("median", 0), ("worst", 0), ("every", 0)):
        assert cli("gate", str(kept), "--judge", how).returncode == code
    for how, value in (("median", sorted(counts)[1]), ("worst", max(counts))):
        for limit, code in ((value, 1), (value + 1, 0)):
            tight = ("--gate", f"hold{{mode=write}}.count < {limit}", "--judge", how)
            assert cli("gate", str(kept), *tight).returncode == code
    again = cli("run", "hold-times", "-o", f"{kept}/", "--", "true")
    assert again.returncode == 2 and "is there already" in again.stderr
    assert cli("run", "hold-times", "--add", "-o", f"{kept}/", "--", "true").returncode == 0
    assert len(series.load(str(kept))) == 4
