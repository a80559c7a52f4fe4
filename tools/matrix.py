"""Every Debian suite's bpftrace on the running kernel: shipped profiles and known answers."""

import json
import os
import platform
import re
import subprocess
import sys

import compatibility
import roots

FAIL = "**fail**"
KNOWN_ANSWERS = tuple(
    f"tests/kernel/test_{name}.py" for name in ("known_answers", "both_sides", "gates")
)
SUITES = ("bullseye", "bookworm", "trixie", "sid")
TIMEOUT_S = 600
# name -> profile, its settings, the workload: small, and each of another shape.
SHORT = ("--set", "threshold=20us", "--set", "kernel_stack=8", "--set", "user_stack=4")
CAPTURES = {
    "munmaps": ("hold-times", [], ["munmaps", "23"]),
    # Writes only: before 6.4 each page fault is a read.
    "forks": ("long-holds", ["--mode", "write", *SHORT], ["forks", "3", "8"]),
}


def suite(name: str, capture: bool) -> compatibility.Outcome:
    """Whether all is as it should be, a clear refusal included."""
    os.environ["MMAPLOCK_BPFTRACE"] = str(roots.bpftrace(name))
    os.environ.pop("SUDO_UID", None)  # under sudo the tool does not hear the other one
    told = json.loads(_tool("doctor", "--json").stdout)
    checks = {check["name"]: check for check in told["checks"]}
    number = checks["version"]["found"]
    kernel = platform.release().split("-")[0]
    print(f"== {name}: bpftrace {number} on Linux {kernel}", flush=True)
    if not told["can_trace"]:
        done = _tool("run", "hold-times", "-d", "1s")
        return compatibility.refusal(done.returncode, done.stderr, number, name, kernel)
    if capture:
        return _capture(number, kernel)
    return _judged(name, kernel, checks)


def _judged(
    name: str, kernel: str, checks: dict[str, compatibility.Check]
) -> compatibility.Outcome:
    selftest = _tool("selftest", "--json")
    if selftest.returncode not in (0, 1):
        raise compatibility.BrokenError(f"self-test: {selftest.stderr[-2000:]}")
    summary = _known_answers()
    faults = list(compatibility.doctor_faults(checks, kernel))
    print(*faults, f"known answers: {summary}", sep="\n")
    row = compatibility.from_selftest(json.loads(selftest.stdout), name, kernel, summary)
    return compatibility.Outcome(row, not (selftest.returncode or summary == FAIL or faults))


def _known_answers() -> str:
    """What passed. Those that fail are run once more: a busy machine may keep a workload's thread
    from playing its part. That is said.
    """
    first = _run("-m", "pytest", *KNOWN_ANSWERS)
    passed = int(found[1]) if (found := re.search(r"(\d+) passed", first.stdout)) else 0
    if first.returncode == 0:
        return f"{passed} pass"
    print(first.stdout[-3000:], flush=True)
    second = _run("-m", "pytest", "--last-failed", *KNOWN_ANSWERS)
    found = re.search(r"(\d+) passed", second.stdout)
    if second.returncode or not found:
        print(second.stdout[-3000:], flush=True)
        return FAIL
    return f"{passed + int(found[1])} pass, {found[1]} at the second try"


def _capture(number: str, kernel: str) -> compatibility.Outcome:
    """Raw streams, without this machine's paths."""
    series = ".".join(kernel.split(".")[:2])
    for name, (profile, settings, workload) in CAPTURES.items():
        path = compatibility.DATA / f"bpftrace-{number}_linux-{series}_{name}.ndjson"
        argv = ["python3", "mmaplock_bt/workload.py", *workload]
        done = _tool("run", profile, *settings, "--save-raw", str(path), "--", *argv)
        if done.returncode:
            raise compatibility.BrokenError(f"no capture of {name}: {done.stderr}")
    return compatibility.Outcome(None, True)


def _tool(*words: str) -> subprocess.CompletedProcess[str]:
    return _run("-m", "mmaplock_bt", *words)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    # python3 of a traced workload is an interpreter, not a version manager's script.
    path = f"{sys.base_prefix}/bin:{os.environ['PATH']}"
    try:
        return subprocess.run(
            [sys.executable, *words], cwd=compatibility.REPOSITORY, timeout=TIMEOUT_S,
            capture_output=True, text=True, check=False, env=os.environ | {"PATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise compatibility.BrokenError(f"{' '.join(words)} did not end: {error}") from error


if __name__ == "__main__":
    sys.exit(compatibility.main(__doc__ or "", SUITES, suite))
