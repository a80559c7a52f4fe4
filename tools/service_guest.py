"""In an emulated Debian, beside the agent's unit: starts it, reloads it, breaks it and stops it.

Prints a line of JSON for each check: what was looked at, whether it is right, what was found.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

UNIT = "mmaplock-bt-agent.service"
CONFIG = Path("/etc/mmaplock-bt/agent.yaml")
WORKLOAD = ["python3", "/usr/share/mmaplock-bt/mmaplock_bt/workload.py"]
BLAMED, CAUSE = "mmaplock_blamed_wait_seconds_total{", 'cause="smaps/maps/numa_maps"'
# An emulated CPU is a slow one; the rest is as the unit says.
SLOWER = """\
[Service]
CPUQuota=
TimeoutStartSec=15min
WatchdogSec=60
RestartSec=1
"""
RIGHT = "culprits: {{names: [agent]}}\nlimits: {{cpu: 100%, events: {events}}}\n"
LIMIT_S = 400
Found = tuple[bool, str]


def ctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)


def state(*names: str) -> list[str]:
    """The unit's properties."""
    words = [f"--property={name}" for name in names]
    told = dict(line.split("=", 1) for line in ctl("show", UNIT, *words).stdout.splitlines())
    return [told[name] for name in names]


def metrics() -> dict[str, float]:
    """What a scrape tells; nothing where nobody answers."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:9435/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def until(is_so: Callable[[], object]) -> bool:
    """Waits for it; whether it came within LIMIT_S."""
    end = time.monotonic() + LIMIT_S
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def blamed() -> float:
    """For how long was waited for readers of smaps, in s."""
    return sum(n for name, n in metrics().items() if name.startswith(BLAMED) and CAUSE in name)


def bpftraces() -> list[int]:
    """Their pids, without those that are gone but for their name."""
    stats = (path.read_text() for path in Path("/proc").glob("[0-9]*/stat"))
    return [int(one.split()[0]) for one in stats if "(bpftrace)" in one and ") Z" not in one]


def starts() -> Found:
    """By notification: when systemctl returns it traces."""
    done = ctl("start", UNIT)
    found = state("ActiveState", "SubState", "StatusText")
    up = metrics().get("mmaplock_up")
    return done.returncode == 0 and found[:2] == [
        "active",
        "running",
    ] and up == 1, f"{found}, up {up}"


def is_guarded() -> Found:
    """What the unit takes away is away; what it may use is bounded."""
    (pid,) = state("MainPID")
    told = Path(f"/proc/{pid}/status").read_text()
    bounding = re.search(r"^CapBnd:\s*(\w+)$", told, re.MULTILINE)
    group = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition(":")[2]
    memory = Path(f"/sys/fs/cgroup{group}/memory.max").read_text().strip()
    few = bounding is not None and bin(int(bounding[1], 16)).count("1") < 12
    right = few and "NoNewPrivs:\t1" in told and memory == str(500 << 20)
    return right, f"CapBnd {bounding and bounding[1]}, memory.max {memory}, {group}"


def blames() -> Found:
    """How much is right is for tests on two CPUs: here the reader and who waits have one."""
    before = blamed()
    subprocess.run([*WORKLOAD, "smaps", "7", "256"], stdout=subprocess.DEVNULL, check=True)
    came = until(lambda: blamed() > before)
    return came, f"{blamed() - before:.3f} s more"


def reloads(text: str, last: float, reloads: float) -> Found:
    """`last`: whether the file was taken; counters do not fall, the process is the same."""
    before, count = state("MainPID"), blamed()
    CONFIG.write_text(text)
    done = ctl("reload", UNIT)
    name = "mmaplock_config_last_reload_successful"
    came = until(
        lambda: (now := metrics()).get(name) == last and now["mmaplock_reloads_total"] == reloads
    )
    right = came and done.returncode == 0 and state("MainPID") == before and blamed() >= count
    return (
        right,
        f"taken {last:.0f}, reloads {reloads:.0f}, blamed {count:.3f} then {blamed():.3f} s",
    )


def outlives_its_bpftrace() -> Found:
    (main,) = state("MainPID")
    for pid in bpftraces():
        os.kill(pid, signal.SIGKILL)
    came = until(
        lambda: (now := metrics()).get("mmaplock_up") == 1 and now["mmaplock_restarts_total"] == 1
    )
    return came and state("MainPID", "NRestarts") == [
        main,
        "0",
    ], f"restarts {came}, {state('NRestarts')}"


def is_started_anew_where_it_hangs() -> Found:
    """The watchdog: nothing feeds it while the process is stopped."""
    (main,) = state("MainPID")
    os.kill(int(main), signal.SIGSTOP)
    came = until(lambda: state("NRestarts", "ActiveState") == ["1", "active"])
    told = subprocess.run(
        ["journalctl", "-u", UNIT, "-o", "cat"], capture_output=True, text=True, check=True
    ).stdout
    up = metrics().get("mmaplock_up")
    right = came and "Watchdog timeout" in told and up == 1 and len(bpftraces()) == 1
    return right, f"{state('NRestarts', 'ActiveState')}, up {up}, bpftraces {len(bpftraces())}"


def gives_up_on_a_wrong_file() -> Found:
    CONFIG.write_text("no_such: key\n")
    done = ctl("restart", UNIT)
    found = state("ActiveState", "Result", "ExecMainStatus", "NRestarts")
    return done.returncode != 0 and found == ["failed", "exit-code", "2", "0"], str(found)


def stops() -> Found:
    ctl("reset-failed", UNIT)  # it has been started three times in ten minutes
    CONFIG.write_text(RIGHT.format(events=1_000_000))
    done = ctl("start", UNIT), ctl("stop", UNIT)
    found = state("ActiveState", "Result")
    right = not any(one.returncode for one in done) and found == ["inactive", "success"]
    return right and not bpftraces(), f"{found}, bpftraces {len(bpftraces())}"


def main() -> None:
    CONFIG.write_text(RIGHT.format(events=1_000_000))
    folder = Path(f"/etc/systemd/system/{UNIT}.d")
    folder.mkdir()
    (folder / "slower.conf").write_text(SLOWER)
    ctl("daemon-reload")
    checks: dict[str, Callable[[], Found]] = {
        "it is started when it traces": starts,
        "it has what the unit leaves it": is_guarded,
        "a stall is blamed on its reader": blames,
        "a wrong file is refused by a reload": lambda: reloads("no_such: key\n", 0, 0),
        "another file is taken by a reload": lambda: reloads(RIGHT.format(events=500_000), 1, 1),
        "a stall after the reload": blames,
        "a bpftrace that is killed": outlives_its_bpftrace,
        "the watchdog": is_started_anew_where_it_hangs,
        "a wrong file at its start": gives_up_on_a_wrong_file,
        "it stops": stops,
    }
    for what, check in checks.items():
        began = time.monotonic()
        right, found = check()
        print(json.dumps([what, right, f"{found} ({time.monotonic() - began:.0f} s)"]), flush=True)


if __name__ == "__main__":
    main()
