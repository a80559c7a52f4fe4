"""Containers and units are found by their cgroups; what is not one of them is a sentence."""

import json
import os

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import cgroups, container_names, containers, systemd_units

WEB = "3f9a1c0b7d24" + "e5" * 26
NEAR = "3f9a1c0b7d24" + "e6" * 26  # the same head as `docker ps` shows
DB = "abcd" + "0" * 60
POD = "77" * 32


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A folder that stands for a mounted v2 hierarchy, and no file that has names."""
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    made = tmp_path / "cgroup"
    made.mkdir()
    monkeypatch.setattr(cgroups, "ROOT", made.stat().st_ino)
    cgroups.MOUNTS.write_text(f"cgroup2 {made} cgroup2 rw 0 0\n")
    monkeypatch.setattr(container_names, "DOCKER", str(tmp_path / "docker"))
    monkeypatch.setattr(container_names, "STORAGE", (str(tmp_path / "storage"),))
    monkeypatch.setattr(container_names, "CONTAINERD", (str(tmp_path / "containerd"),))
    # pytest's own folder may lie where others can write.
    monkeypatch.setattr(container_names.private_folder, "is_private", lambda _: True)
    return made


@pytest.fixture
def running(root):
    """Three containers and a process that looks after one of them."""
    (root / f"docker/{WEB}/init.scope").mkdir(parents=True)
    (root / f"machine.slice/libpod-{DB}.scope/container").mkdir(parents=True)
    (root / f"machine.slice/libpod-conmon-{DB}.scope").mkdir()
    (root / f"kubepods/burstable/pod1/{POD}").mkdir(parents=True)
    return root


def refused(given: str, path_of=containers.path_of) -> str:
    with pytest.raises(UsageError) as told:
        path_of(given)
    return str(told.value)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (WEB, f"/docker/{WEB}"),
        (WEB[:12], f"/docker/{WEB}"),
        (WEB[:4], f"/docker/{WEB}"),
        ("abcd", f"/machine.slice/libpod-{DB}.scope"),
        (f"containerd://{POD}", f"/kubepods/burstable/pod1/{POD}"),
    ],
)
def test_a_head_that_is_one_containers_is_enough(running, given, path):
    assert containers.path_of(given) == path
    assert cgroups.cgroup_id(path) == (running / path.lstrip("/")).stat().st_ino


def test_an_unknown_container_is_answered_with_those_that_there_are(running):
    told = refused("web")
    assert told.startswith("--container web: no container's id begins so, and names are not")
    assert "give the head of its id" in told
    for head in ("docker 3f9a1c0b7d24", "podman abcd00000000", "container 777777777777"):
        assert head in told
    assert "\n" not in told and "at least 4 digits" in refused("3f9")


def test_a_head_of_several_is_answered_with_both_as_far_as_they_differ(running):
    (running / f"docker/{NEAR}").mkdir()
    told = refused("3f9a1c0b7d24")
    assert "2 containers" in told and f"docker {WEB}" in told and f"docker {NEAR}" in told
    assert containers.path_of(NEAR) == f"/docker/{NEAR}"


def test_many_are_not_all_listed(running):
    for n in range(40):
        (running / f"docker/{n:04x}{'0' * 60}").mkdir()
    assert "and 35 more" in refused("nobody") and len(refused("nobody")) < 600


def test_without_any_container_it_says_where_it_looked(root, monkeypatch):
    assert refused("web") == f"--container web: no container's cgroup is to be seen under {root}"
    monkeypatch.setattr(cgroups, "ROOT", 1)
    assert "mount the machine's /sys/fs/cgroup" in refused("web")
    cgroups.MOUNTS.write_text("")
    assert "no cgroup hierarchy is mounted" in refused("web")


@pytest.fixture
def named(running, tmp_path):
    """Writes what runtimes keep: Docker's, Podman's with --rm, containerd's of a pod."""
    keep(tmp_path / f"docker/{WEB}/config.v2.json", {"ID": WEB, "Name": "/web", "State": {}})
    keep(
        tmp_path / "storage/overlay-containers/volatile-containers.json",
        [{"id": DB, "names": ["db"]}, {"id": 5, "names": [7]}, "x"],
    )
    keep(
        tmp_path / f"containerd/io.containerd.runtime.v2.task/k8s.io/{POD}/config.json",
        {"annotations": dict(zip(container_names._OF_A_POD, ("web-1", "nginx"), strict=True))},
    )
    return tmp_path


def keep(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    ("name", "identity"), [("web", WEB), ("db", DB), ("nginx", POD), ("web-1/nginx", POD)]
)
def test_a_name_is_read_where_the_runtime_keeps_it(named, name, identity):
    assert identity in containers.path_of(name)


def test_a_name_comes_before_a_head_and_is_told_beside_it(named, running):
    keep(named / f"docker/{NEAR}/config.v2.json", {"Name": "/abcd"})
    (running / f"docker/{NEAR}").mkdir()
    assert containers.path_of("abcd") == f"/docker/{NEAR}"
    assert "docker 3f9a1c0b7d24" in refused("x") and "(web)" in refused("x")
    assert "(web-1/nginx)" in refused("x")


def test_two_of_a_name_are_not_guessed_between(named, running):
    (running / f"docker/{NEAR}").mkdir()
    keep(named / f"docker/{NEAR}/config.v2.json", {"Name": "/web"})
    assert "2 containers are called so" in refused("web")


def test_cri_os_names_are_taken_apart(named):
    keep(
        named / "storage/overlay-containers/containers.json",
        [{"id": DB, "names": ["k8s_app_pod-1_default_u_0"]}],
    )
    assert DB in containers.path_of("pod-1/app") and DB in containers.path_of("app")


@pytest.mark.parametrize(
    "content", ["{", "[" * 100_000, "[]", "null", '{"Name": 5}', '{"Name": ""}']
)
def test_a_file_that_is_no_runtimes_names_nobody(named, content):
    keep(named / f"docker/{WEB}/config.v2.json", content)
    assert "web" not in str(container_names.of([WEB]))


def test_a_file_that_others_can_write_names_nobody(named):
    file = named / f"docker/{WEB}/config.v2.json"
    assert container_names.of([WEB]) == {WEB: ("web",)}
    file.chmod(0o666)
    assert container_names.of([WEB]) == {}
    file.chmod(0o600)
    file.rename(file.with_suffix(".there"))
    file.symlink_to(file.with_suffix(".there"))
    assert container_names.of([WEB]) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_file_of_another_user_names_nobody(named):
    os.chown(named / f"docker/{WEB}/config.v2.json", 65534, 65534)
    assert container_names.of([WEB]) == {}


def test_a_file_without_end_names_nobody(named, monkeypatch):
    monkeypatch.setattr(container_names, "LIMIT_BYTES", 20)
    assert container_names.of([WEB, DB, POD]) == {}


@pytest.fixture
def units(root):
    for path in (
        "system.slice/nginx.service",
        "system.slice/system-getty.slice/getty@tty1.service",
        "system.slice/_cpu.service",
        "user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
        "user.slice/user-1000.slice/user@1000.service/app.slice/mail.service",
        "user.slice/user-1001.slice/user@1001.service/app.slice/mail.service",
        f"docker/{WEB}/system.slice/nginx.service",
        "machine.slice/shell.scope",
    ):
        (root / path).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("nginx", "/system.slice/nginx.service"),
        ("nginx.service", "/system.slice/nginx.service"),
        ("getty@tty1", "/system.slice/system-getty.slice/getty@tty1.service"),
        ("system-getty.slice", "/system.slice/system-getty.slice"),
        ("machine.slice", "/machine.slice"),
        ("shell.scope", "/machine.slice/shell.scope"),
        ("cpu", "/system.slice/_cpu.service"),
    ],
)
def test_a_unit_is_its_cgroup_the_machines_before_a_users(units, given, path):
    assert systemd_units.path_of(given) == path


def test_an_unknown_unit_is_answered_with_what_is_near(units):
    told = refused("getty", systemd_units.path_of)
    assert told.startswith("--unit getty: no such unit has a cgroup here")
    assert "getty@tty1.service" in told
    assert "nginx.service" in refused("ngnix", systemd_units.path_of)
    assert refused("zzzz", systemd_units.path_of).endswith("(does it run?)")


def test_a_name_of_two_users_units_is_not_guessed(units):
    told = refused("mail", systemd_units.path_of)
    assert "2 cgroups bear this name" in told and "user@1001.service/app.slice" in told


def test_a_unit_without_a_memory_cgroup_is_told_how_to_get_one(units, tmp_path):
    memory = tmp_path / "memory"
    (memory / "system.slice").mkdir(parents=True)
    cgroups.MOUNTS.write_text(
        f"cgroup {memory} cgroup rw,memory 0 0\ncgroup {units} cgroup rw,name=systemd 0 0\n"
    )
    assert "MemoryAccounting=yes" in refused("nginx", systemd_units.path_of)
    assert systemd_units.path_of("system.slice") == "/system.slice"
