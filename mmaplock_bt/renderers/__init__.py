"""Renderers make a file of a series: a module each, with `render(series)`, text or bytes."""

import re
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import lines
from mmaplock_bt.judging.series import Series

Renderer = Callable[..., str | bytes]  # (series); those in COLORED also take color=
COLORED = ("table", "gates")
DETAILED = ("table",)  # ... and those that also take detail= and width=
# name -> the suffixes that choose it; the longest one that fits wins.
FORMATS: dict[str, tuple[str, ...]] = {
    "table": (".txt",),
    "json": (".json",),
    "gates": (".gates.txt",),
    "junit": (".xml",),
    "github": (".annotations",),
    "markdown": (".md",),
    "html": (".html",),
    "openmetrics": (".openmetrics", ".metrics.txt"),
    "bencher": (".bmf.json",),
    "smaller": (".smaller.json",),
    "gobench": (".bench", ".bench.txt"),
    "folded": (".folded",),
    "folded-victim": (".victim.folded",),
    "speedscope": (".speedscope.json",),
    "pprof": (".pb.gz",),
    "perfetto": (".pftrace", ".perfetto-trace"),
}
# UsageError where a profile keeps no single holds.
OF_SPANS = ("folded", "folded-victim", "speedscope", "pprof", "perfetto")
BINARY = ("pprof", "perfetto")  # no terminal shows them
AS_JSON = ("json", "bencher", "smaller", "speedscope")
FOLDER = "folder"  # of a run: each run's result; of the others: the page, beside what it loads
_PLAIN = (".json", ".txt")  # what other formats' suffixes end with
_COMPOUND = re.compile(r"\.[a-z]+$")
_BY_SUFFIX = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes}


def named(name: str) -> Renderer:
    """Returns the `render` of a format; its module is imported only now."""
    render: Renderer = import_module(f"mmaplock_bt.renderers.{name.replace('-', '_')}").render
    return render


def check_libraries(names: Collection[str]) -> None:
    """Raises UsageError, before anything is traced, for formats whose library is not there."""
    for name in BINARY:
        if name in names:
            getattr(import_module("mmaplock_bt.renderers.extras"), name)()


def rendered(
    series: Series, name: str, *, color: bool = False, detail: int = 0, width: int | None = None
) -> str | bytes:
    """Renders a series in a format; the options count for those that a terminal shows."""
    if name == FOLDER:
        return named("html")(series, beside=True)
    given: dict[str, Any] = {"color": color} if name in COLORED else {}
    if name in DETAILED:
        given |= {"detail": detail} | ({} if width is None else {"width": width})
    return named(name)(series, **given)


def harmless(text: str | bytes, name: str, *, color: bool = False) -> str | bytes:
    """Returns what a format's renderer made as it may be written: every report passes here.

    Each renderer escapes texts from outside by its format's rules; this is about whole lines, as a
    terminal or a CI's log reads them.
    """
    if isinstance(text, bytes):
        return text
    return lines(text, colored=color and name in COLORED, commands=name == "github",
                 escape="\\u00" if name in AS_JSON else "\\x")  # fmt: skip


def for_file(written: str) -> tuple[str, str]:
    """Reads the value of -o, `FILE.suffix`, `FORMAT:FILE` or `DIR/`, as (format, path).

    Raises UsageError.
    """
    if "\0" in written:
        raise UsageError(f"-o {written}: no file has such a name")
    if written.endswith("/") or resources.is_folder(written):
        return FOLDER, written
    name, colon, path = written.partition(":")
    if colon and path and name in FORMATS:
        return name, path
    for suffix in sorted(_BY_SUFFIX, key=len, reverse=True):
        if Path(written).name.endswith(suffix):
            _check_compound(written, suffix)
            return _BY_SUFFIX[suffix], written
    raise UsageError(
        f"-o {written}: the suffix chooses the format ({', '.join(_BY_SUFFIX)}), "
        f"or a name before it does, like junit:{written} ({', '.join(FORMATS)}); "
        "a folder (DIR/) keeps each run's result or, of what is saved, the page in several files"
    )


def _check_compound(written: str, suffix: str) -> None:
    """Raises UsageError for a suffix like .chrome.json: it may be meant for a format of its own."""
    word = _COMPOUND.search(Path(written).name.removesuffix(suffix))
    if word is not None and suffix in _PLAIN:
        known = [one for one in _BY_SUFFIX if one.count(".") > 1]
        raise UsageError(
            f"-o {written}: {word[0]}{suffix} is no format ({', '.join(known)} are): "
            f"{_BY_SUFFIX[suffix]}:{written} writes {_BY_SUFFIX[suffix]}"
        )
