"""The command `compare`."""

from mmaplock_bt.judging import series
from tests.builders import noisy


def saved(folder, runs):
    folder.mkdir()
    for one in runs:
        series.save(one, folder)
    return str(folder)


def test_the_command(cli, tmp_path):
    base, slow = saved(tmp_path / "a", noisy(1)), saved(tmp_path / "b", noisy(2, 1.5))
    done = cli("compare", base, slow)
    assert done.returncode == 0, done.stderr
    assert "~" in done.stdout and "+" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 100
    assert cli("compare", base, slow, "--fail-on", "hold.p99:+10%").returncode == 1
    assert cli("compare", slow, base, "--fail-on", "hold.p99:+10%").returncode == 0
    same = [cli("compare", base, slow, "--format", "json").stdout for _ in "ab"]
    assert same[0] == same[1], "the same files give the same answer"
    wrong = cli("compare", base, slow, "--fail-on", "hold.p98:+10%", "--fail-on", "x")
    assert wrong.returncode == 2
    assert "--fail-on:1:6:" in wrong.stderr and "--fail-on:1:2:" in wrong.stderr
    assert cli("compare", base, str(tmp_path / "none")).returncode == 2
    one = cli("compare", f"{base}/run-001.json", slow, "--fail-on", "hold.p99:+10%")
    assert one.returncode == 5 and "1 run, fewer than 6" in one.stdout
