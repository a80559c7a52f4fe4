"""Finds the shipped templates and profiles: in the wheel, or beside the package in a checkout."""

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def shipped(folder: str) -> Traversable:
    """Returns the folder 'templates' or 'profiles', as installed or in the checkout."""
    installed = files("mmaplock_bt") / folder
    # The wheel brings both folders inside the package; an editable install and a checkout have them
    # beside it.
    return installed if installed.is_dir() else Path(__file__).resolve().parent.parent / folder


def shipped_names(folder: str, suffix: str) -> list[str]:
    """Returns the sorted names, without suffix, of the files in a shipped folder.

    Files whose names begin with '_' are left out: they are parts of others.
    """
    names = (entry.name for entry in shipped(folder).iterdir() if entry.name.endswith(suffix))
    return sorted(name.removesuffix(suffix) for name in names if not name.startswith("_"))


def user_profiles() -> Path:
    """Returns the folder of the user's own profiles (XDG base directory specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "mmaplock-bt" / "profiles"


def cache() -> Path:
    """Returns the folder for what may be deleted at any time (same specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmaplock-bt"
