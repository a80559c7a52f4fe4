"""Containers and units stand for cgroups, wherever a filter is taken and for a trap's captures."""

from pathlib import Path

import pytest

from mmaplock_bt import command_line
from mmaplock_bt.commands import run, selection, trap
from mmaplock_bt.machine import cgroups

ID = "3f2a1b4c5d6e" + "07" * 26
CONTAINER = f"/docker/{ID}"
UNIT = "/system.slice/nginx.service"


@pytest.fixture(autouse=True)
def hierarchy(monkeypatch, tmp_path):
    """A folder that stands for a mounted hierarchy with a container and a unit in it."""
    root = tmp_path / "cgroup"
    for path in (CONTAINER, UNIT, "/other"):
        (root / path.lstrip("/")).mkdir(parents=True)
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    cgroups.MOUNTS.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")


def parsed(*words: str):
    return command_line.parse([*words])


@pytest.mark.parametrize("verb", [("run", "blame"), ("top", "blame"), ("script", "blame")])
def test_they_are_taken_where_a_cgroup_is(verb):
    words = ("--container", ID[:12], "--unit", "nginx", "--cgroup", "/other")
    chosen = run.chosen_profile(parsed(*verb, *words))
    assert chosen.filter.owner.cgroups == ("/other", CONTAINER, UNIT)
    actors = run.chosen_profile(parsed(*verb, "--actor-container", ID, "--actor-unit", "nginx"))
    assert actors.filter.actor.cgroups == (CONTAINER, UNIT)
    assert actors.filter.owner.cgroups == ()


def test_a_traps_captures_mean_the_cgroup_that_was_found():
    """A container of that name may be another one by then."""
    arguments = parsed("run", "blame", "--trap", "hold > 50ms", "--container", ID[:12])
    run.chosen_profile(arguments)
    words = trap._command(arguments, Path("captures/1"))
    assert words[words.index("--cgroup") + 1] == CONTAINER and "--container" not in words


def test_every_option_that_stands_for_a_cgroup_is_resolved():
    options = {name for names, _, _ in command_line.FILTERS for name in names}
    wanted = {one for one in options if one.endswith(("container", "unit"))}
    assert wanted == {f"--{name.replace('_', '-')}" for name in selection.STANDS_FOR}
