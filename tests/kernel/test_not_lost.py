"""What was collected is not lost, and the exit code says what happened: no room, nobody who reads.

Each fault is put before the real program.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable

import pytest

from mmaplock_bt import workload
from tests.kernel.results import loaded

pytestmark = pytest.mark.kernel
COUNT = 101
KNOWN = workload.command("munmaps", COUNT)
TRACED = ("run", "hold-times", "-q", "--")
REFUSED = """{#
question: Is it refused?
outputs:
  waits: {kind: table, title: Waits, unit: ns, keys: [pid]}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block wait_ended %}
    system("true");
{{ record("waits", "$wait_ns") }}
{% endblock %}
"""
Done = subprocess.CompletedProcess[str]
Shell = Callable[..., Done]


@pytest.fixture
def full(tmp_path):
    """A file system that has no room, with one small file; unmounted whatever happens."""
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=False)
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        (place / "old").write_text("kept")
        filler = place / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def shell(kernel, tmp_path) -> Shell:
    """A line of bash in which `tool` is the program; its last status is the whole pipe's."""

    def run(line: str, *words: str) -> Done:
        tool = 'tool() { "$PYTHON" -P -m mmaplock_bt "$@"; }; set -o pipefail; '
        variables = {"PYTHON": sys.executable, "TMPDIR": str(tmp_path)}
        return subprocess.run(
            ["bash", "-c", tool + line, "bash", *words], env=os.environ | variables,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def told(done: Done) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("mmaplock-bt: ")]


def test_a_full_disk_leaves_the_old_file_and_the_new_result_is_kept(shell, full, tmp_path):
    line = f'tool run hold-times -o json:{full}/old --force --format none -- "$@"'
    done = shell(line, *KNOWN)
    assert done.returncode == 2 and "No space left" in told(done)[0] and len(told(done)) == 1
    assert (full / "old").read_text() == "kept"
    assert sorted(one.name for one in full.iterdir()) == ["filler", "old"]
    (kept,) = tmp_path.glob("mmaplock-bt-kept-*/result.json")
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700 and str(kept.parent) in done.stderr
    assert loaded(kept.read_text()).books.downgrades >= COUNT


def test_a_raw_stream_that_fills_the_disk_loses_nothing_else(shell, full, tmp_path):
    (full / "filler").unlink()  # there is room for the beginning
    saved = tmp_path / "r.json"
    line = f'tool run long-holds --set threshold=0 --save-raw {full}/raw -o {saved} -- "$@"'
    done = shell(line, *workload.command("munmaps", 1009))
    assert done.returncode == 2 and f"cannot write --save-raw {full}/raw: No space" in told(done)[0]
    assert loaded(saved.read_text()).books.downgrades >= 1009
    assert (full / "raw").stat().st_size > 0 and "Traceback" not in done.stderr


def test_runs_that_find_no_room_are_kept(shell, full, tmp_path):
    done = shell(f'tool run hold-times --repeat 3 -o {full}/runs/ -- "$@"', *KNOWN)
    assert done.returncode == 2 and "No space left" in told(done)[0]
    (kept,) = tmp_path.glob("mmaplock-bt-kept-*/result.json")
    assert loaded(kept.read_text()).books.downgrades >= COUNT


def test_a_refused_run_leaves_the_old_raw_file(shell, tmp_path):
    (tmp_path / "refused.bt.j2").write_text(REFUSED)
    (tmp_path / "refused.yaml").write_text("template: ./refused.bt.j2\n")
    raw = tmp_path / "raw"
    raw.write_text("old")
    done = shell(f"tool run {tmp_path}/refused.yaml --save-raw {raw} --force -d 1s")
    assert done.returncode == 4, done.stderr
    assert raw.read_text() == "old"
    assert shell(f"tool run hold-times --save-raw {raw} --force -d 100ms").returncode == 0
    assert raw.read_text().startswith("{")


@pytest.mark.parametrize("place", ["full", "gone"])
def test_a_trap_without_room_stays_armed(cli, kernel, full, tmp_path, place):
    folder = full / "traps" if place == "full" else tmp_path / "file/traps"
    (tmp_path / "file").write_text("")
    done = cli(
        *("run", "blame", "--trap", "hold > 1ms", "--trap-dir", str(folder), "--locks", "all"),
        *("--capture", "200ms", "--captures", "2", "-d", "4s"),
        env={"TMPDIR": str(tmp_path)},
    )
    said = "cannot capture it" if place == "gone" else "No space left"
    if "capturing" not in done.stderr + done.stdout and said not in done.stderr:
        pytest.skip("no hold of 1 ms in 4 s")
    assert done.returncode == 0 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("-o a.json -o a.json", "written twice"),
        ("-o a.json -o ./a.json", "written twice"),
        ("-o a.json --save-raw a.json", "written twice"),
        ("-o markdown:- -o json:-", "once is enough"),
        ("-o json:- --save-raw -", "--save-raw -: standard output is for the report"),
        ("--save-raw -", "--save-raw -: standard output is for the report"),
    ],
)
def test_what_would_be_written_over_itself_is_refused(shell, tmp_path, words, why):
    done = shell(f"cd {tmp_path}; tool run hold-times {words} -- touch {tmp_path}/ran")
    assert done.returncode == 2 and why in told(done)[0]
    assert not (tmp_path / "ran").exists() and not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("tool run hold-times --gate 'hold.count < 1' -- true | true", 1),
        ("tool run hold-times --gate 'hold.count < 1' -- true | head -c 1", 1),
        ("tool run hold-times --gate 'hold.count < 1' -- true > /dev/full", 1),
        ("tool run hold-times --gate 'hold.count > 0' -- true | true", 0),
        ("tool run hold-times --gate 'hold.count > 0' -- true > /dev/full", 2),
        ("tool run hold-times -- sh -c 'exit 7' | true", 6),
        ("tool run hold-times -- sh -c 'exit 7' 2>&-", 6),
        ("tool run hold-times -- sh -c 'exit 7' >&-", 6),
        ("tool run hold-times -- sh -c 'exit 7' <&- >&- 2>&-", 6),
        ("tool run hold-times -- sh -c 'exit 7' 9</dev/null", 6),
        ("tool run hold-times -- sh -c 'exit 7' 2>/dev/full", 6),
    ],
)
def test_who_reads_changes_no_verdict_and_no_result(shell, tmp_path, line, code):
    saved = tmp_path / "r.json"
    done = shell(line.replace("hold-times", f"hold-times -o {saved}"))
    assert done.returncode == code, done.stderr
    assert loaded(saved.read_text()).books.acquires
    if "2>" not in line:
        assert bool(told(done)) == ("/dev/full" in line)


def test_the_command_has_its_descriptors_where_ours_are_closed(shell, tmp_path):
    """Its report goes where standard error does; what is closed is not another file of ours."""
    saved, seen = tmp_path / "r.json", tmp_path / "seen"
    written = f"echo out; echo err >&2; ls -l /proc/self/fd > {seen}; exit 7"
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(f'tool run hold-times -o {saved} --force -- sh -c "$1" {closed}', written)
        assert done.returncode == 6, done.stderr
        loaded(saved.read_text())
        targets = [line.split(" -> ")[1] for line in seen.read_text().splitlines() if "->" in line]
        assert not [one for one in targets if "r.json" in one or "anon_inode" in one], targets
        assert "out" not in done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_links_of_others_lead_nowhere(shell, tmp_path):
    """In a folder like /tmp, where another user has planted what root would write to."""
    common, roots = tmp_path / "common", tmp_path / "roots"
    common.mkdir()
    common.chmod(0o1777)
    roots.mkdir()
    (roots / "file").write_text("root's")
    for name in ("r.json", "raw", "r.md"):
        (common / name).symlink_to(roots / "file")
    for name in ("mmaplock-bt-runs", "mmaplock-bt-captures", "runs"):
        (common / name).symlink_to(roots)
    for one in common.iterdir():
        os.chown(one, 65534, 65534, follow_symlinks=False)
    here = f"cd {common}; "
    for words in (
        "-o r.json", "--save-raw raw", "-o runs/", "--repeat 3", "-o mmaplock-bt-runs/x.json",
        "--trap 'hold > 1s' -d 1s", "-o runs/x.json --force", "-o runs/ --add",
    ):  # fmt: skip
        is_trap = "--trap" in words
        done = shell(here + f"tool run hold-times {words} {'' if is_trap else '-- true'}")
        assert done.returncode == (0 if is_trap else 2), (words, done.stderr)
    done = shell(here + "tool run hold-times --force -o r.json -o r.md --save-raw raw -- true")
    assert done.returncode == 0, done.stderr
    assert [(one.name, one.read_text()) for one in roots.iterdir()] == [("file", "root's")]
    loaded((common / "r.json").read_text())


def test_a_refused_script_is_kept_for_its_owner_alone(shell, tmp_path):
    (tmp_path / "refused.bt.j2").write_text(REFUSED)
    (tmp_path / "refused.yaml").write_text("template: ./refused.bt.j2\n")
    done = shell(f"tool run {tmp_path}/refused.yaml -d 1s")
    (kept,) = tmp_path.glob("mmaplock-bt-refused-*.bt")
    assert str(kept) in done.stderr and stat.S_IMODE(kept.stat().st_mode) == 0o600
