"""Renderers make text of a series: a module each, with `render(series) -> str`."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from mmaplock_bt import resources
from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import lines
from mmaplock_bt.judging.series import Series

Renderer = Callable[..., str]  # (series); those in COLORED also take color=
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
    "openmetrics": (".openmetrics", ".metrics.txt"),
    "bencher": (".bmf.json",),
    "smaller": (".smaller.json",),
    "gobench": (".bench", ".bench.txt"),
}
AS_JSON = ("json", "bencher", "smaller")
FOLDER = "folder"
_BY_SUFFIX = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes}


def named(name: str) -> Renderer:
    """Returns the `render` of a format; its module is imported only now."""
    render: Renderer = import_module(f"mmaplock_bt.renderers.{name}").render
    return render


def rendered(
    series: Series, name: str, *, color: bool = False, detail: int = 0, width: int | None = None
) -> str:
    """Renders a series in a format; the options count for those that a terminal shows."""
    given: dict[str, Any] = {"color": color} if name in COLORED else {}
    if name in DETAILED:
        given |= {"detail": detail} | ({} if width is None else {"width": width})
    return named(name)(series, **given)


def harmless(text: str, name: str, *, color: bool = False) -> str:
    """Returns what a format's renderer made as it may be written: every report passes here.

    Each renderer escapes texts from outside by its format's rules; this is about whole lines, as a
    terminal or a CI's log reads them.
    """
    return lines(text, colored=color and name in COLORED, commands=name == "github",
                 escape="\\u00" if name in AS_JSON else "\\x")  # fmt: skip


def for_file(written: str) -> tuple[str, str]:
    """Reads the value of -o, `FILE.suffix`, `FORMAT:FILE` or `DIR/`, as (format, path).

    Raises UsageError.
    """
    if written.endswith("/") or resources.is_folder(written):
        return FOLDER, written
    name, colon, path = written.partition(":")
    if colon and path and name in FORMATS:
        return name, path
    for suffix in sorted(_BY_SUFFIX, key=len, reverse=True):
        if Path(written).name.endswith(suffix):
            return _BY_SUFFIX[suffix], written
    raise UsageError(
        f"-o {written}: the suffix chooses the format ({', '.join(_BY_SUFFIX)}), "
        f"or a name before it does, like junit:{written} ({', '.join(FORMATS)}); "
        "a folder (DIR/) keeps each run's result"
    )
