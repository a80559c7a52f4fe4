"""What a hold of mmap_lock can be caused by, in plain words, and the words that reports use.

All of it is declared in causes.yaml; analysis/causes.py tells a cause from a stack by the patterns
there. The file is read when first asked for.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ConfigDict, Field

from mmaplock_bt.spec.outputs import Strict

FILE = "causes.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where there is one
_KERNEL = r"^\d+\.\d+$"
_SOURCE = r"^https://\S+$"


class Remedy(Strict):
    """What people did about a cause, in a line; `since` is the first kernel that can do it."""

    do: str = Field(min_length=1, max_length=80)
    note: str = ""
    since: str | None = Field(None, pattern=_KERNEL)
    source: str = Field(pattern=_SOURCE)


class Change(Strict):
    """What a kernel does otherwise about a lock from a release on."""

    kernel: str = Field(pattern=_KERNEL)
    what: str = Field(min_length=1)
    source: str = Field(pattern=_SOURCE)


class Cause(Strict):
    """A cause; `plain` completes 'while it was ...'. Patterns are those of kernel functions.

    `advice` are the names that madvise(2) has for it.
    """

    model_config = ConfigDict(strict=False)  # the file has lists

    name: str
    plain: str = Field(min_length=1)
    means: str = Field(min_length=1)
    frames: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    changes: tuple[Change, ...] = ()


class Term(Strict):
    """A word that reports use; `also` are other names of the same."""

    model_config = ConfigDict(strict=False)  # the file has lists

    name: str
    means: str = Field(min_length=1)
    also: tuple[str, ...] = ()


class _File(Strict):
    causes: dict[str, Cause]
    terms: dict[str, Term]


def cause(name: str) -> Cause | None:
    """Returns a cause by its name in results; None for a stack that no pattern knows.

    One that is told more closely than it is described, like 'madvise(MADV_DODUMP)', is described by
    what stands before the parenthesis.
    """
    return _cause(name) or _cause(name.partition("(")[0])


def causes() -> Mapping[str, Cause]:
    """Returns all causes by name, in the order in which their patterns are tried."""
    return _checked().causes


def terms() -> Mapping[str, Term]:
    """Returns all terms by name."""
    return _checked().terms


@cache
def patterns(tier: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Returns each cause's patterns of a tier, 'frames' or 'callers'; unchecked, for it is fast."""
    return tuple(
        (name, tuple(about[tier])) for name, about in _data()["causes"].items() if tier in about
    )


@cache
def advised() -> Mapping[str, str]:
    """Returns which cause an advice of madvise is, by its name: 'MADV_FREE'; unchecked, too."""
    causes = _data()["causes"].items()
    return {advice: name for name, about in causes for advice in about.get("advice", ())}


@cache
def _cause(name: str) -> Cause | None:
    """One of them, without the time that all others take."""
    about = _data()["causes"].get(name)
    return None if about is None else Cause.model_validate({"name": name, **about})


@cache
def _checked() -> _File:
    named = {
        part: {name: {"name": name, **about} for name, about in entries.items()}
        for part, entries in _data().items()
    }
    return _File.model_validate(named)


@cache
def _data() -> dict[str, Any]:
    text = (files("mmaplock_bt") / FILE).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, _LOADER)
    return found
