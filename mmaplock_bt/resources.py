"""Finds the shipped templates and profiles: in the wheel, or beside the package in a checkout."""

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def shipped(folder: str) -> Traversable:
    """The folder 'templates' or 'profiles' as installed, else the checkout's top-level one."""
    installed = files("mmaplock_bt") / folder
    return installed if installed.is_dir() else Path(__file__).resolve().parent.parent / folder


def shipped_names(folder: str, suffix: str) -> list[str]:
    """Names without suffix; those that start with '_' are parts, not whole ones."""
    names = (entry.name for entry in shipped(folder).iterdir() if entry.name.endswith(suffix))
    return sorted(name.removesuffix(suffix) for name in names if not name.startswith("_"))


def user_profiles() -> Path:
    """The user's own profiles, by the XDG base directory specification."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "mmaplock-bt" / "profiles"


def cache() -> Path:
    """What may be lost at any time, by the same specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmaplock-bt"
