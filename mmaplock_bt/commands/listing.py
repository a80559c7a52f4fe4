"""list: the profiles that can be named, each with its description.

It is asked for often, by shells that complete, too: it reads the descriptions alone. pydantic and
the templates would take ten times as long.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import safe
from mmaplock_bt.spec import plain_yaml, user_file

SUFFIX = ".yaml"


def main(arguments: argparse.Namespace) -> int:
    """Prints every profile's name and description. Raises UsageError for a file that is none."""
    found = dict(_files())
    if arguments.json:
        print(json.dumps({"schema": 1, "profiles": list(map(_told, found.items()))}, indent=1))
        return 0
    width = max(len(name) for name in found)
    described = {name: _description(name, file) for name, file in found.items()}
    for name, words in described.items():
        print(f"{safe(name):<{width}}  {safe(words)}")
    return 0


def shipped() -> dict[str, str]:
    """Returns the description of each shipped profile by its name."""
    return {name: _description(name, file) for name, file in _files() if _is_shipped(name)}


def _files() -> Iterator[tuple[str, Path]]:
    """The shipped ones, then the user's, of which a shipped name hides one."""
    shipped = resources.shipped_names("profiles", SUFFIX)
    for name in shipped:
        yield name, resources.shipped("profiles") / (name + SUFFIX)
    folder = resources.user_profiles()
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder else []:
        if path.stem not in shipped:
            yield path.stem, path


def _told(found: tuple[str, Path]) -> dict[str, str | bool]:
    name, file = found
    return {"name": name, "description": _description(name, file), "shipped": _is_shipped(name)}


def _description(name: str, file: Path) -> str:
    try:
        described = plain_yaml.load(_text(name, file), name).data.get("description")
    except UsageError:
        described = None
    return described if described and isinstance(described, str) else _resolved(name)


def _text(name: str, file: Path) -> str:
    if not _is_shipped(name):
        return user_file.read(file, "profile", obeyed=True)
    return file.read_text("utf-8")


def _is_shipped(name: str) -> bool:
    return name in resources.shipped_names("profiles", SUFFIX)


def _resolved(name: str) -> str:
    """As a run would find it: that of the base or of the template, or else the file's faults."""
    from mmaplock_bt.spec import profile  # noqa: PLC0415  (pydantic)

    return profile.load(name).description
