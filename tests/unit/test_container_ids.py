"""A container is told by its runtime and the head of its id, wherever its cgroup lies."""

import pytest

from mmaplock_bt import container_ids
from mmaplock_bt.renderers.text import cells

ID = "3f9a1c0b7d24" + "e5" * 26
OTHER = "c4" * 32
POD = "pod3f9a1c0b-7d24-4c0d-9f1e-aaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (f"/docker/{ID}", "docker 3f9a1c0b7d24"),
        (f"/system.slice/docker-{ID}.scope", "docker 3f9a1c0b7d24"),
        (f"/machine.slice/libpod-{ID}.scope", "podman 3f9a1c0b7d24"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman 3f9a1c0b7d24/container"),
        (f"/libpod_parent/libpod-{ID}", "podman 3f9a1c0b7d24"),
        (f"/system.slice/web.service/libpod-payload-{ID}", "podman 3f9a1c0b7d24"),
        (f"/kubepods/burstable/{POD}/{ID}", "container 3f9a1c0b7d24"),
        (f"/kubepods.slice/kubepods-{POD}.slice/cri-containerd-{ID}.scope",
         "containerd 3f9a1c0b7d24"),
        (f"/system.slice/containerd.service/kubepods-{POD}.slice:cri-containerd:{ID}",
         "containerd 3f9a1c0b7d24"),
        (f"/kubepods.slice/kubepods-{POD}.slice/crio-{ID}.scope", "cri-o 3f9a1c0b7d24"),
        (f"/system.slice/nerdctl-{ID}.scope", "nerdctl 3f9a1c0b7d24"),
        (f"/docker/{OTHER}/kubelet/kubepods/{POD}/{ID}/init.scope",
         "container 3f9a1c0b7d24/init.scope"),
        (f"/machine.slice/libpod-conmon-{ID}.scope",
         "/machine.slice/libpod-conmon-3f9a1c0b7d24.scope"),
        (f"/docker/{ID}0", f"/docker/{ID}0"),
        (f"/docker/{ID.upper()}", f"/docker/{ID.upper()}"),
        (f"/{'a' * 65}", f"/{'a' * 65}"),
        ("/kubepods/pod3f9a1c0b-7d24", "/kubepods/pod3f9a1c0b-7d24"),
        ("/", "/"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_container_is_told_by_its_ids_head(path, told):
    """As `docker ps` shows it; what is no id of 64 digits stays."""
    assert container_ids.told(path) == told


def test_the_innermost_of_several_is_meant():
    found = container_ids.of(f"/docker/{OTHER}/docker/{ID}/a/b")
    assert found == container_ids.Container("docker", ID, "/a/b")


@pytest.mark.parametrize(
    ("path", "short"),
    [
        (f"/kubepods.slice/kubepods-{POD}.slice/cri-containerd-{ID}.scope",
         "containerd 3f9a1c0b7d24"),
        (f"/docker/{ID}/system.slice/nginx.service", "docker 3f9a1c0b7d24/system.sl…"),
        ("/system.slice/system-postgresql.slice/postgresql@17-main.service",
         "…postgresql@17-main.service"[-30:]),
        ("/system.slice/nginx.service", "/system.slice/nginx.service"),
    ],
)  # fmt: skip
def test_where_a_path_is_cut_a_containers_head_stays(path, short):
    assert cells.shortened(path).endswith(short.removeprefix("…"))
    assert len(cells.shortened(path)) <= cells.CGROUP
