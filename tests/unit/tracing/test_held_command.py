"""A traced command ends with the run, and all that it has started; however the run ends.

Every process of a test holds the writing end of a pipe: the reader's end tells that all are gone.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmaplock_bt.tracing import held_command, keeper
from mmaplock_bt.tracing.held_command import HeldCommand

SLEEP = "sleep 600"
DEAF = f'trap "" TERM; {SLEEP}; {SLEEP}'
LEFT = f"trap '' TERM HUP; {SLEEP} & {SLEEP} & echo daemons > /proc/self/fd/$1"
DAEMON = f'setsid sh -c "{LEFT}" sh $1; {SLEEP}'.replace("fd/$1", "fd/\\$1")
PATIENCE_S = 30
# A run in a process of its own: it says its command's pid, and waits to be killed.
RUN = """
import sys
from mmaplock_bt.tracing import keeper
from mmaplock_bt.tracing.held_command import HeldCommand
keeper.GRACE_S = 0.1
command = HeldCommand(sys.argv[2:])
if sys.argv[1] == "released":
    command.release()
print(command.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pipe():
    """(reader, writer), the writer inheritable."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    yield reader, writer
    os.close(reader)


@pytest.fixture
def held(monkeypatch, pipe):
    """Holds shell commands that get the pipe's writer as $1, and so does what they start."""
    monkeypatch.setattr(keeper, "GRACE_S", 0.1)
    _, writer = pipe
    made = []

    def hold(body):
        made.append(HeldCommand(["sh", "-c", body, "sh", str(writer)]))
        return made[-1]

    yield hold
    for one in made:
        one.end()


def ended(one: HeldCommand) -> int | None:
    assert select.select([one.ended], [], [], PATIENCE_S)[0], "it did not end"
    return one.status


def said(reader: int) -> str:
    assert select.select([reader], [], [], PATIENCE_S)[0], "nothing came"
    return os.read(reader, 1 << 10).decode()


def nobody_is_left(pipe) -> bool:
    """To be asked once our own writer is closed."""
    return said(pipe[0]) == ""


@pytest.mark.parametrize(("body", "status"), [("exit 7", 7), ("kill -9 $$", -9), ("true", 0)])
def test_its_status_is_told(held, pipe, body, status):
    one = held(body)
    assert one.status is None
    one.release()
    assert ended(one) == status
    os.close(pipe[1])


@pytest.mark.parametrize("body", [f"exec {SLEEP}", DEAF, f"{SLEEP} & {SLEEP} & wait"])
def test_what_does_not_end_by_itself_is_ended_with_all_below_it(held, pipe, body):
    one = held(f"echo goes > /proc/self/fd/$1; {body}")
    one.release()
    os.close(pipe[1])
    assert said(pipe[0]) == "goes\n"
    assert one.end() in (-signal.SIGTERM, -signal.SIGKILL)
    assert nobody_is_left(pipe)


def test_a_daemon_in_a_session_of_its_own_is_ended_too(held, pipe):
    one = held(DAEMON)
    one.release()
    os.close(pipe[1])
    assert said(pipe[0]) == "daemons\n"
    one.end()
    assert nobody_is_left(pipe)


def test_a_command_that_exits_leaves_running_what_it_wants_to(held, pipe):
    one = held(f"{SLEEP} & echo $! > /proc/self/fd/$1; exit 3")
    one.release()
    os.close(pipe[1])
    left = int(said(pipe[0]))
    assert ended(one) == 3 == one.end()
    os.kill(left, signal.SIGKILL)  # it is there
    assert nobody_is_left(pipe)


def test_a_command_that_is_killed_takes_along_what_it_started(held, pipe):
    one = held(f"{SLEEP} & echo $! > /proc/self/fd/$1; wait")
    one.release()
    os.close(pipe[1])
    said(pipe[0])
    os.kill(one.pid, signal.SIGKILL)
    assert ended(one) == -signal.SIGKILL
    assert nobody_is_left(pipe)


def test_a_stopped_command_is_ended(held, pipe):
    one = held(f"echo goes > /proc/self/fd/$1; kill -STOP $$; {SLEEP}")
    one.release()
    os.close(pipe[1])
    said(pipe[0])
    assert one.end() == -signal.SIGTERM
    assert nobody_is_left(pipe)


def test_who_kills_the_keeper_ends_the_command(held, pipe):
    one = held(f"echo goes > /proc/self/fd/$1; exec {SLEEP}")
    one.release()
    os.close(pipe[1])
    said(pipe[0])
    os.kill(one._keeper, signal.SIGKILL)
    assert ended(one) == -signal.SIGKILL
    assert nobody_is_left(pipe)


def test_what_cannot_be_ended_is_told(held, pipe, monkeypatch, capsys):
    """As a thread that is stuck in the kernel: here the keeper has no signal that kills."""
    monkeypatch.setattr(keeper, "KILL_S", 0.05)
    monkeypatch.setattr(signal, "SIGKILL", signal.SIGURG)
    one = held(f"trap '' TERM; echo goes > /proc/self/fd/$1; exec {SLEEP}")
    monkeypatch.undo()
    one.release()
    os.close(pipe[1])
    said(pipe[0])
    assert one.end() is None
    assert f"the command (pid {one.pid})" in capsys.readouterr().err
    os.kill(one.pid, signal.SIGKILL)


@pytest.mark.parametrize("moment", ["held", "released", "stopped"])
@pytest.mark.parametrize("body", [SLEEP, DEAF, DAEMON])
def test_it_ends_with_a_run_that_is_killed(pipe, moment, body):
    words = ["sh", "-c", body, "sh", str(pipe[1])]
    released = "held" if moment == "held" else "released"
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, released, *words], pass_fds=[pipe[1]], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(pipe[1])
    pid = int(run.stdout.readline())
    if released == "released" and body == DAEMON:
        said(pipe[0])
    if moment == "stopped":
        os.kill(pid, signal.SIGSTOP)
    run.kill()
    run.communicate()
    assert nobody_is_left(pipe)


@pytest.mark.parametrize(("ignored", "bits"), [("HUP INT", 0b11), ("", 0), ("TERM", 1 << 14)])
def test_a_command_ignores_what_the_tool_was_born_ignoring(ignored, bits):
    """As below nohup, or in a shell's background. SIGPIPE, which Python ignores, it does not."""
    run = (
        "from mmaplock_bt.signals import CAUGHT\n"
        "import signal, sys\n"
        "for number in CAUGHT: signal.signal(number, lambda *_: None)\n"
        "from mmaplock_bt.tracing.held_command import HeldCommand\n"
        "import select\n"
        "command = HeldCommand(['grep', 'SigIgn', '/proc/self/status'])\n"
        "command.release(); select.select([command.ended], [], []); command.end()\n"
    )
    shell = f'trap "" {ignored}; exec "$@"' if ignored else 'exec "$@"'
    done = subprocess.run(  # whatever these tests were born ignoring
        ["env", "--default-signal", "sh", "-c", shell, "sh", sys.executable, "-c", run],
        stderr=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    # 32 and 33 are the C library's own: nothing sets them back, and some CI is born ignoring one.
    assert int(done.stderr.split()[1], 16) & ((1 << 31) - 1) == bits


def test_a_command_that_is_stopped_before_it_is_executed_keeps_no_lifeline(held, monkeypatch):
    """Else its keeper never hears that the run has ended. Here it stops itself."""
    monkeypatch.setattr(held_command, "_become", lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
    one = held("exit 0")
    ours = {Path(f"/proc/self/fd/{end}").readlink() for end in (one._lifeline, one._release)}
    while "State:\tT" not in Path(f"/proc/{one.pid}/status").read_text():
        pass
    for entry in Path(f"/proc/{one.pid}/fd").iterdir():
        flags = Path(f"/proc/{one.pid}/fdinfo/{entry.name}").read_text().split()[3]
        assert entry.readlink() not in ours or not int(flags, 8) & os.O_WRONLY
