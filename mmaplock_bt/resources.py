"""Finds the shipped templates and profiles: in the wheel, or beside the package in a checkout.

By paths: importlib.resources would be a fifth of what `list` takes.
"""

import os
from pathlib import Path


def shipped(folder: str) -> Path:
    """Returns the folder 'templates' or 'profiles', as installed or in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / folder
    # The wheel brings both folders inside the package; an editable install and a checkout have them
    # beside it.
    return installed if installed.is_dir() else package.parent / folder


def shipped_names(folder: str, suffix: str) -> list[str]:
    """Returns the sorted names, without suffix, of the files in a shipped folder.

    Files whose names begin with '_' are left out: they are parts of others.
    """
    names = (entry.name for entry in shipped(folder).iterdir() if entry.name.endswith(suffix))
    return sorted(name.removesuffix(suffix) for name in names if not name.startswith("_"))


def is_folder(path: Path | str) -> bool:
    """Tells whether it is a folder; False too where one may not look, and Path.is_dir() raises."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Tells whether it is a file; False too where one may not look, or the name is too long."""
    return os.path.isfile(path)  # noqa: PTH113


def user_profiles() -> Path | None:
    """Returns the folder of the user's own profiles; None where there is none that one may read.

    By the XDG base directory specification.
    """
    folder = Path(_base("XDG_CONFIG_HOME", ".config"), "mmaplock-bt", "profiles")
    # Another's home may be left in the environment, as by sudo.
    return folder if is_folder(folder) and os.access(folder, os.R_OK | os.X_OK) else None


def cache() -> Path:
    """Returns the folder for what may be deleted at any time (same specification)."""
    return Path(_base("XDG_CACHE_HOME", ".cache"), "mmaplock-bt")


def _base(variable: str, name: str) -> str:
    """A user without a home has neither; nothing is looked for in the current folder."""
    given = os.environ.get(variable, "")
    if given.startswith("/"):
        return given
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() raises where there is none)
    return f"{home}/{name}" if home.startswith("/") else os.devnull
