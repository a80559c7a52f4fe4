"""list: the profiles that can be named, each with its description.

It is asked for often, by shells that complete, too: it reads the descriptions alone. pydantic and
the templates would take ten times as long.
"""

import argparse
import json
from collections.abc import Iterator
from importlib.resources.abc import Traversable

import yaml

from mmaplock_bt import resources

SUFFIX = ".yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where there is one


def main(arguments: argparse.Namespace) -> int:
    """Prints every profile's name and description. Raises UsageError for a file that is none."""
    found = dict(_files())
    if arguments.json:
        print(json.dumps({"schema": 1, "profiles": list(map(_told, found.items()))}, indent=1))
        return 0
    width = max(len(name) for name in found)
    for name, file in found.items():
        print(f"{name:<{width}}  {_description(name, file)}")
    return 0


def _files() -> Iterator[tuple[str, Traversable]]:
    """The shipped ones, then the user's, of which a shipped name hides one."""
    shipped = resources.shipped_names("profiles", SUFFIX)
    for name in shipped:
        yield name, resources.shipped("profiles") / (name + SUFFIX)
    folder = resources.user_profiles()
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder else []:
        if path.stem not in shipped:
            yield path.stem, path


def _told(found: tuple[str, Traversable]) -> dict[str, str | bool]:
    name, file = found
    is_shipped = name in resources.shipped_names("profiles", SUFFIX)
    return {"name": name, "description": _description(name, file), "shipped": is_shipped}


def _description(name: str, file: Traversable) -> str:
    try:
        described = yaml.load(file.read_text("utf-8"), _LOADER)["description"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        described = None
    return described if described and isinstance(described, str) else _resolved(name)


def _resolved(name: str) -> str:
    """As a run would find it: that of the base or of the template, or else the file's faults."""
    from mmaplock_bt.spec import profile  # noqa: PLC0415  (pydantic)

    return profile.load(name).description
