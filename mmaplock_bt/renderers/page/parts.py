"""The files that a page is made of: templates, style, scripts; which of them stand beside it."""

from importlib.resources import files

from mmaplock_bt.result.embedded import INDEX

STYLE = "page.css"
SCRIPTS = ("common.js", "tables.js", "flame.js", "range.js")
NAMES = (STYLE, *SCRIPTS, INDEX)


def text(name: str) -> str:
    """Returns a template, the style or a script."""
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")


def folder(page: str) -> dict[str, str]:
    """Returns the files of a page that stands beside its style and scripts.

    The page is the last one: where it is, all that it needs is.
    """
    return {name: page if name == INDEX else text(name) for name in NAMES}
