"""Every Debian suite's bpftrace on the running kernel: shipped profiles, known answers, captures.

python tools/matrix.py [--capture] [SUITE...]
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys

import compatibility
import roots

SUITES = ("bullseye", "bookworm", "trixie", "sid")
DATA = compatibility.REPOSITORY / "tests/data"
# name -> profile, its settings, the workload: small, and each of another shape.
CAPTURES = {
    "munmaps": ("hold-times", [], ["munmaps", "23"]),
    "forks": ("long-holds", ["--set", "threshold=0", "--mode", "write"], ["forks", "3", "8"]),
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--capture", action="store_true", help="record tests/data again")
    parser.add_argument("suites", nargs="*", default=SUITES)
    arguments = parser.parse_args()
    failed = [suite for suite in arguments.suites if not _suite(suite, capture=arguments.capture)]
    compatibility.main()
    print(f"{len(arguments.suites) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _suite(suite: str, *, capture: bool) -> bool:
    """Whether all is as it should be, a clear refusal included."""
    os.environ["MMAPLOCK_BPFTRACE"] = str(roots.bpftrace(suite))
    version = json.loads(_tool("doctor", "--json").stdout)
    told = {check["name"]: check for check in version["checks"]}
    number = told["version"]["found"]
    kernel = platform.release().split("-")[0]
    print(f"== {suite}: bpftrace {number} on Linux {kernel}", flush=True)
    if not version["can_trace"]:
        return _refused(suite, number, kernel)
    selftest = _tool("selftest", "--json")
    known = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_known_answers.py"],
        cwd=compatibility.REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(selftest.stderr[-2000:] if selftest.returncode else "selftest passed")
    print(known.stdout[-3000:] if known.returncode else "known answers passed", flush=True)
    passed = re.search(r"(\d+) passed", known.stdout)
    summary = f"{passed[1]} pass" if passed and known.returncode == 0 else "**fail**"
    told = json.loads(selftest.stdout)
    compatibility.note(compatibility.from_selftest(told, suite, kernel, summary))
    if capture:
        _capture(number, kernel)
    return selftest.returncode == 0 and known.returncode == 0


def _refused(suite: str, number: str, kernel: str) -> bool:
    """One that cannot work must say so and end with 3."""
    done = _tool("run", "hold-times", "-d", "1s")
    sentence = done.stderr.strip().removeprefix("mmaplock-bt: ")
    print(f"exit {done.returncode}: {sentence}", flush=True)
    compatibility.note(compatibility.refused(number, suite, kernel, sentence))
    return done.returncode == 3 and "Traceback" not in sentence


def _capture(number: str, kernel: str) -> None:
    """Raw streams, without this machine's paths."""
    series = ".".join(kernel.split(".")[:2])
    for name, (profile, settings, workload) in CAPTURES.items():
        path = DATA / f"bpftrace-{number}_linux-{series}_{name}.ndjson"
        argv = ["python3", "mmaplock_bt/workload.py", *workload]
        done = _tool("run", profile, *settings, "--save-raw", str(path), "--", *argv)
        if done.returncode:
            raise SystemExit(f"no capture of {name}: {done.stderr}")


def _tool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mmaplock_bt", *words],
        cwd=compatibility.REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
