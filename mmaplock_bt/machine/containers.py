"""Containers that run here: found by the cgroups that bear their ids."""

import os
import re
from collections.abc import Iterable

from mmaplock_bt import container_ids
from mmaplock_bt.container_ids import Container
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import cgroups, container_names

SHORTEST = 4  # digits of an id's head
TOLD = 8  # containers in a sentence
_HEAD = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}")
_SCHEME = re.compile(r"[a-z][a-z-]*://")  # as Kubernetes writes an id
Names = dict[str, tuple[str, ...]]


def path_of(given: str, option: str = "--container") -> str:
    """Returns the path of a container's memory cgroup, given its name or the head of its id.

    As with Docker a whole id comes first, then a name, then a head. Raises UsageError that names
    those that it may be.
    """
    running = _running()
    wanted = _SCHEME.sub("", given, count=1)
    if wanted in running:
        return running[wanted][1]
    names = container_names.of(running)
    found = [one for one in running if wanted in names.get(one, ())]
    if not found and _HEAD.fullmatch(wanted):
        found = [one for one in running if one.startswith(wanted)]
    if len(found) != 1:
        whole = {one: container for one, (container, _) in running.items()}
        why = _several(found, whole, names) if found else _none(wanted, whole, names)
        raise UsageError(f"{option} {shown(given)}: {why}")
    return running[found[0]][1]


def _running() -> dict[str, tuple[Container, str]]:
    """Each container with its cgroup's path, by id; of several cgroups the outermost."""
    found: dict[str, tuple[Container, str]] = {}
    for path in sorted(cgroups.paths().values(), key=len):
        container = container_ids.of(path)
        if container and not container.below:
            found.setdefault(container.id, (container, path))
    return found


def _several(found: list[str], running: dict[str, Container], names: Names) -> str:
    told = _listed(found, running, names)
    return f"{len(found)} containers are called so, or have an id that begins so: {told}"


def _none(wanted: str, running: dict[str, Container], names: Names) -> str:
    if not running:
        return f"no container's cgroup is to be seen {_where()}"
    told = _listed(running, running, names)
    if re.fullmatch("[0-9a-f]+", wanted) and len(wanted) < SHORTEST:
        return f"an id's head has at least {SHORTEST} digits; there are {told}"
    why = "no container's id begins so, and none is called so"
    if not names:
        why = f"no container's id begins so, and {_nameless()}"
    return f"{why}; there are {told}"


def _where() -> str:
    root = cgroups.hierarchy()
    if root is None:
        return "(no cgroup hierarchy is mounted here)"
    if cgroups.is_whole(root):
        return f"under {root}"
    return f"under {root}, which is this container's own part: mount the machine's /sys/fs/cgroup"


def _nameless() -> str:
    reader = "names are not to be read here" if os.geteuid() == 0 else "only root can read names"
    return f"{reader}: give the head of its id"


def _listed(ids: Iterable[str], running: dict[str, Container], names: Names) -> str:
    """Each by its head, as far as they differ in that, with its name."""
    every = list(ids)
    told = [_told(running[one], names.get(one, ()), every) for one in every[:TOLD]]
    more = len(every) - TOLD
    return ", ".join([*told, f"and {more} more"] if more > 0 else told)


def _told(one: Container, names: tuple[str, ...], others: list[str]) -> str:
    """Longer than a head where another one begins so, too."""
    is_alike = any(o != one.id and o.startswith(one.id[: container_ids.HEAD]) for o in others)
    head = f"{one.runtime} {one.id}" if is_alike else one.head
    return f"{head} ({shown(names[-1])})" if names else head
