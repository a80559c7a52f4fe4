"""Units of systemd that run here: found by their cgroups, which bear their names."""

import difflib
import re
from pathlib import Path

from mmaplock_bt import container_ids
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown
from mmaplock_bt.machine import cgroups

SUFFIXES = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")  # of units with a cgroup
TOLD = 5  # names in a sentence
# Below such a unit it is another systemd that names its own: a user's, or a container's.
_ANOTHERS = re.compile(r"/user@\d+\.service/")


def path_of(given: str, option: str = "--unit") -> str:
    """Returns the path of a unit's memory cgroup; a name without a suffix is a service's.

    The machine's own unit comes before one of a user or in a container. Raises UsageError that
    names what it may be.
    """
    name = given if given.endswith(SUFFIXES) else f"{given}.service"
    found = _best(_called(name, cgroups.paths()))
    if len(found) == 1:
        return found[0]
    raise UsageError(f"{option} {shown(given)}: {_several(found) if found else _none(name)}")


def _called(name: str, paths: dict[int, str]) -> list[str]:
    return [path for path in paths.values() if _unit(path) == name]


def _unit(path: str) -> str:
    """A unit's name; systemd puts '_' before one that would read as a file of the kernel's."""
    name = path.rpartition("/")[2]
    return name.removeprefix("_") if name.endswith(SUFFIXES) else ""


def _best(found: list[str]) -> list[str]:
    """Those of the machine's own systemd, if there are any."""
    own = [path for path in found if not _ANOTHERS.search(path) and not container_ids.of(path)]
    return own or found


def _several(found: list[str]) -> str:
    told = ", ".join(shown(path, 200) for path in sorted(found)[:TOLD])
    return f"{len(found)} cgroups bear this name, give one of them as --cgroup: {told}"


def _none(name: str) -> str:
    systemds = cgroups.systemds()
    memory = cgroups.hierarchy()
    if memory is None:
        return "no cgroup hierarchy is mounted here"
    if systemds not in (None, memory) and _called(name, cgroups.paths(systemds)):
        return (
            f"{shown(name)} has no memory cgroup of its own under {memory}: set "
            f"MemoryAccounting=yes in the unit and start it again"
        )
    return f"no such unit has a cgroup here (does it run?){_near(name, _known(memory, systemds))}"


def _known(*roots: Path | None) -> list[str]:
    every = [_unit(path) for root in roots if root for path in cgroups.paths(root).values()]
    return sorted({one for one in every if one})


def _near(name: str, known: list[str]) -> str:
    """What begins like it (an instance of a template), or is spelt like it."""
    stem = _stem(name).rstrip("@")
    alike = [one for one in known if stem and one.startswith(stem)]
    spelt = difflib.get_close_matches(stem, {_stem(one) for one in known}, TOLD)
    alike += [one for one in known if _stem(one) in spelt]
    told = ", ".join(shown(one) for one in list(dict.fromkeys(alike))[:TOLD])
    return f"; there is {told}" if told else ""


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
