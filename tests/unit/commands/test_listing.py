"""list: names and descriptions, also of the user's own profiles."""

import json

import pytest

from mmaplock_bt.spec import profile


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "mmaplock-bt/profiles"
    folder.mkdir(parents=True)
    return folder


def test_each_profile_stands_with_the_description_that_a_run_would_have(cli, mine):
    (mine / "own.yaml").write_text("extends: long-holds\ndescription: mine\n")
    (mine / "heir.yaml").write_text("extends: long-holds\n")
    done = cli("list")
    assert done.returncode == 0, done.stderr
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert list(told) == profile.names()
    assert told == {name: profile.load(name).description for name in told}
    assert told["own"] == "mine" and told["heir"] == told["long-holds"]


@pytest.mark.parametrize("text", ["- a\n", "a: b: c\n", "description: [1]\n", "\x00", ""])
def test_a_file_that_is_no_profile_is_2_with_its_fault(cli, mine, text):
    (mine / "wrong.yaml").write_text(text)
    done = cli("list")
    assert done.returncode == 2 and "wrong" in done.stderr and "Traceback" not in done.stderr


def test_for_programs(cli, mine):
    (mine / "own.yaml").write_text("extends: long-holds\ndescription: mine\n")
    told = json.loads(cli("list", "--json").stdout)
    assert told["schema"] == 1
    found = {one["name"]: one for one in told["profiles"]}
    assert list(found) == profile.names()
    assert found["own"] == {"name": "own", "description": "mine", "shipped": False}
    assert all(one["shipped"] for name, one in found.items() if name != "own")
