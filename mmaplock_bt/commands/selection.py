"""Containers and units of systemd on the command line: each stands for its memory cgroup."""

import argparse
from collections.abc import Callable

from mmaplock_bt.machine import containers, systemd_units

# option's place -> (the place of the paths that it is one of, how it is looked up)
STANDS_FOR: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "container": ("cgroup", containers.path_of),
    "unit": ("cgroup", systemd_units.path_of),
    "actor_container": ("actor_cgroup", containers.path_of),
    "actor_unit": ("actor_cgroup", systemd_units.path_of),
}


def resolve(arguments: argparse.Namespace) -> None:
    """Puts paths in the place of containers and units: a trap's captures mean the same ones.

    Raises UsageError.
    """
    for name, (paths, path_of) in STANDS_FOR.items():
        option = f"--{name.replace('_', '-')}"
        found = [path_of(given, option) for given in getattr(arguments, name) or []]
        if found:
            setattr(arguments, paths, [*(getattr(arguments, paths) or []), *found])
        setattr(arguments, name, None)
