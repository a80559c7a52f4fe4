"""One lock in N is followed: what is scaled up from it is near what is known."""

import math
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kernel.parked import child, heard, tell
from tests.kernel.processes import begun
from tests.kernel.results import loaded
from tests.limits import STARTS_AT_ONCE

pytestmark = [pytest.mark.kernel, pytest.mark.daily]
READS, UNMAPS = 20011, 5003
SLACK = 60  # locks that an interpreter takes beside what it is told to take
# A thread of this name reads, maps and unmaps: an unmapping downgrades, and lets go as a reader.
COUNTED = """
import ctypes, sys, threading
reads, unmaps = map(int, sys.argv[1:])
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
page, vector = libc.mmap(None, 4096, 3, 0x22, -1, 0), ctypes.create_string_buffer(1)
print("up", flush=True)
sys.stdin.readline()
def counted():
    libc.prctl(15, b"counted", 0, 0, 0)
    for _ in range(reads):
        libc.mincore(page, 4096, vector)
    for _ in range(unmaps):
        libc.munmap(libc.mmap(None, 4096, 3, 0x22, -1, 0), 4096)
    libc.prctl(15, b"over", 0, 0, 0)
thread = threading.Thread(target=counted)
thread.start()
thread.join()
print("done", flush=True)
sys.stdin.read()
"""
KNOWN = {
    ("hold-times", "hold"): {"read": READS + UNMAPS, "write": 2 * UNMAPS},
    ("wait-times", "wait"): {"read": READS, "write": 2 * UNMAPS},
}
RUNS = [("hold-times", 1), ("hold-times", 4), ("hold-times", 16), ("wait-times", 16)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Files of results of the same locks, each with its profile and its N."""
    folder = tmp_path_factory.mktemp("sampled")
    process = child(COUNTED, READS, UNMAPS)
    assert heard(process) == "up"

    def start(which):
        profile, n = which
        words = (
            "--sample",
            f"1/{n}",
            "--comm",
            "counted",
            "-o",
            str(folder / f"{profile}-{n}.json"),
        )
        return begun(profile, "--format", "none", *words)

    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        runs = list(pool.map(start, RUNS))
    tell(process, "go")
    assert heard(process) == "done"
    for run in runs:
        run.send_signal(signal.SIGINT)
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    process.communicate("")
    return folder


def counts(path, output):
    result = loaded(path.read_text())
    assert result.loss.complete and result.books.residue == 0
    return {row["key"]["mode"]: row for row in result.outputs[output].rows}


@pytest.mark.parametrize(("profile", "n"), RUNS)
def test_estimates_are_near_what_is_known(kernel, results, profile, n):
    output = profile.partition("-")[0]
    rows = counts(results / f"{profile}-{n}.json", output)
    for mode, known in KNOWN[profile, output].items():
        four_deviations = 4 * math.sqrt(known * (n - 1))
        assert -four_deviations <= rows[mode]["count"] - known <= four_deviations + SLACK
        assert ("count_error" in rows[mode]) == (n > 1)


def test_the_books_keep_what_the_profile_asks_for(kernel, results):
    """A number that was not counted is null and not 0: nobody asks hold-times when a wait began."""
    holds, waits = (loaded((results / f"{name}.json").read_text()).books for name in NAMES)
    assert holds.starts is None and holds.open_waits is None and holds.failed is None
    assert holds.acquires == holds.releases + holds.downgrades + holds.open_holds
    assert holds.downgrades >= UNMAPS
    assert waits.releases is None and waits.open_holds is None
    assert waits.starts == waits.acquires + waits.failed + waits.open_waits


NAMES = "hold-times-1", "wait-times-16"


def test_a_gate_within_the_error_is_undecided(cli, kernel, results):
    saved = results / "hold-times-16.json"
    estimate = counts(saved, "hold")["read"]["count"]
    for limit, code in ((estimate + 1, 5), (2 * estimate, 0), (estimate // 2, 1)):
        done = cli("gate", str(saved), "--gate", f"hold{{mode=read}}.count < {limit}")
        assert done.returncode == code, done.stdout
