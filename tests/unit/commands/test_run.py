"""How a run ends."""

from dataclasses import replace

import pytest

import mmaplock_bt.commands.run as run_command
from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.judging import series
from mmaplock_bt.result.model import Command
from tests.builders import gate, run


@pytest.mark.parametrize(
    ("text", "status", "died", "code"),
    [
        ("hold.p99 < 1s", 0, False, 0),
        ("hold.p99 < 1s", 7, False, 6),
        ("hold.p99 < 1ns", 7, False, 1),
        ("hold{mode=read}.p99 < 1s", 7, False, 5),
        ("hold{mode=read}.p99 < 1s", 7, True, 5),
        ("warn: hold.p99 < 1ns", 0, False, 0),
        ("warn: hold.p99 < 1ns", 7, True, 4),
    ],
)
def test_the_exit_code_of_a_run(text, status, died, code, capsys):
    """A gate's before bpftrace's death, that before the command's."""
    base = run(5)
    death = "bpftrace ended" if died else None
    ran = replace(base, window=replace(base.window, command=Command(["x"], status), failure=death))
    try:
        assert run_command.ended(series.judged([ran], [gate(text)])) == code
    except BpftraceError as error:
        assert str(error) == death and code == error.exit_code
    assert ("bpftrace ended" in capsys.readouterr().err) == (died and code == 5)
