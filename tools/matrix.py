"""Every Debian suite's bpftrace on the running kernel: shipped profiles and known answers.

A release between them (0.20) is wrapped: a newer program that refuses what that one refuses.
`tracefs` is the engine without any, once for the kernel.
"""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import compatibility
import roots

sys.path.append(str(compatibility.REPOSITORY))
from tests import between

FAIL = "**fail**"
TRACEFS = "tracefs"  # the last of the suites, and no Debian's
KNOWN_ANSWERS = tuple(
    f"tests/kernel/test_{name}.py" for name in ("known_answers", "both_sides", "gates")
)
SUITES = ("bullseye", "bookworm", "trixie", "sid", TRACEFS)
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
    if name == TRACEFS:
        return _tracefs(capture)
    release = between.RELEASES.get(name)
    program = str(_wrapped(name) if release else roots.bpftrace(name))
    os.environ["MMAPLOCK_BPFTRACE"] = program
    os.environ.pop("SUDO_UID", None)  # under sudo the tool does not hear the other one
    told = json.loads(_tool("doctor", "--json", "--bpftrace", program).stdout)
    checks = {check["name"]: check for check in told["checks"]}
    number = checks["version"]["found"]
    kernel = platform.release().split("-")[0]
    print(f"== {name}: bpftrace {number} on Linux {kernel}", flush=True)
    if release:
        name = ", ".join(filter(None, [release.shipped, compatibility.WRAPPED]))
    if not told["can_trace"]:
        done = _tool("run", "hold-times", "-d", "1s", "--engine", "bpftrace")
        said, right = compatibility.refused(done.returncode, done.stderr)
        row = compatibility.row_of(number, kernel, name, refusal=said)
        return compatibility.Outcome(row, right)
    if capture:
        return compatibility.Outcome(None, True) if release else _capture(number, kernel)
    return _judged((number, kernel, name), checks, wrapped=release is not None)


def _tracefs(capture: bool) -> compatibility.Outcome:
    """The engine that takes no bpftrace: once for a kernel."""
    if capture:
        return compatibility.Outcome(None, True)
    done = _tool("selftest", "--json", "--engine", "tracefs")
    passed = compatibility.passed(done.returncode, done.stdout, done.stderr)
    kernel = platform.release().split("-")[0]
    row = compatibility.row_of(compatibility.NONE, kernel, "tracefs alone", tracefs=passed)
    return compatibility.Outcome(row, compatibility.is_right(passed))


def _wrapped(release: str) -> Path:
    """A program that stands for a release: see tests/between.py."""
    path = roots.CACHE / "roots" / f"bpftrace-{release}"
    program = roots.bpftrace(between.RELEASES[release].suite)
    words = [sys.executable, "-I", between.__file__, release, str(program)]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return path


def _judged(
    place: tuple[str, str, str], checks: dict[str, compatibility.Check], *, wrapped: bool
) -> compatibility.Outcome:
    selftest = _tool("selftest", "--json")
    summary = _read_again(place[0]) if wrapped else _known_answers()
    faults = list(compatibility.doctor_faults(checks, place[1]))
    print(*faults, f"known answers: {summary}", sep="\n")
    passed = compatibility.passed(selftest.returncode, selftest.stdout, selftest.stderr)
    row = compatibility.row_of(*place, profiles=passed, known_answers=summary)
    right = selftest.returncode == 0 and summary != FAIL and not faults
    return compatibility.Outcome(row, right)


def _read_again(version: str) -> str:
    """Whether a real stream says the same in that release's own dialect."""
    release = ".".join(version.split(".")[:2])
    profile, settings, workload = CAPTURES["munmaps"]
    with tempfile.TemporaryDirectory(prefix="mmaplock-bt-between-") as folder:
        raw = Path(folder, "raw.ndjson")
        argv = ["python3", "mmaplock_bt/workload.py", *workload]
        _tool("run", profile, *settings, "--save-raw", str(raw), "--", *argv)
        head, *lines = raw.read_text(errors="surrogateescape").splitlines()
        first = _tool("report", str(raw), "--format", "json").stdout
        changed = [head, *between.printed(release, lines)]
        raw.write_text("\n".join(changed) + "\n", errors="surrogateescape")
        second = _tool("report", str(raw), "--format", "json").stdout
    found, again = (json.loads(text or "{}") for text in (first, second))
    same = all(found.get(part) == again.get(part) for part in ("outputs", "books", "window"))
    return "its dialect read" if found and same else FAIL


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
