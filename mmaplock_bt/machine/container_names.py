"""Names of containers, as far as runtimes keep them in files of root's.

No daemon is asked: its answer is as good as its socket, and it may hang. A file counts only where
nobody but root can have written it.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import product
from typing import Any

from mmaplock_bt.machine import private_folder

LIMIT_BYTES = 16 << 20
DOCKER = "/var/lib/docker/containers"
# containers/storage, Podman's and CRI-O's; those of --rm in the second file, or below /run.
STORAGE = ("/var/lib/containers/storage", "/run/containers/storage")
_DRIVERS = ("overlay", "vfs", "btrfs", "zfs")
_LISTS = ("containers.json", "volatile-containers.json")
# A running task's bundle by containerd namespace: Kubernetes', nerdctl's.
CONTAINERD = ("/run/containerd", "/run/k3s/containerd")
_TASKS = ("io.containerd.runtime.v2.task/k8s.io", "io.containerd.runtime.v2.task/default")
_OF_A_POD = ("io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.container-name")
_NERDCTLS = "nerdctl/name"


def of(ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns the names of the containers that have any that can be read, by id.

    A pod's container is called by its name, and by POD/NAME.
    """
    stored = list(_stored())
    found = {}
    for one in ids:
        kept = (name for identity, name in stored if identity == one)
        found[one] = tuple(dict.fromkeys((*_dockers(one), *kept, *_containerds(one))))
    return {one: names for one, names in found.items() if names}


def _dockers(identity: str) -> Iterator[str]:
    told = _read(f"{DOCKER}/{identity}/config.v2.json")
    yield from _texts(_get(told, "Name"))


def _stored() -> Iterator[tuple[str, str]]:
    for folder, driver, name in product(STORAGE, _DRIVERS, _LISTS):
        listed = _read(f"{folder}/{driver}-containers/{name}")
        for one in listed if isinstance(listed, list) else []:
            identity, names = _get(one, "id"), _get(one, "names")
            if isinstance(identity, str) and isinstance(names, list):
                yield from ((identity, told) for name in _texts(*names) for told in _of_a_pod(name))


def _of_a_pod(name: str) -> tuple[str, ...]:
    """CRI-O's names are k8s_NAME_POD_NAMESPACE_UID_ATTEMPT, as dockershim's were."""
    parts = name.split("_")
    is_pods = parts[0] == "k8s" and len(parts) > 2
    return (name, parts[1], f"{parts[2]}/{parts[1]}") if is_pods else (name,)


def _containerds(identity: str) -> Iterator[str]:
    for folder, task in product(CONTAINERD, _TASKS):
        told = _get(_read(f"{folder}/{task}/{identity}/config.json"), "annotations")
        yield from _texts(_get(told, _NERDCTLS))
        pod, name = (_get(told, key) for key in _OF_A_POD)
        if isinstance(pod, str) and isinstance(name, str):
            yield from (name, f"{pod}/{name}")


def _read(path: str) -> Any:
    data = private_folder.read(path, LIMIT_BYTES)
    with suppress(ValueError, RecursionError):
        return None if data is None else json.loads(data)
    return None


def _get(told: Any, key: str) -> Any:
    return told.get(key) if isinstance(told, dict) else None


def _texts(*values: Any) -> Iterator[str]:
    """Those that are names; Docker's begin with '/'."""
    yield from (one.removeprefix("/") for one in values if isinstance(one, str) and one.strip("/"))
