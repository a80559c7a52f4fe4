"""Results inside an HTML page, so that a page is a result file, too."""

from collections.abc import Sequence

from mmaplock_bt.errors import UsageError
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.saved import from_json, to_json

INDEX = "index.html"  # of a page in a folder, beside its style and scripts
MARK = "<!doctype html>"  # a page's first characters
MOST_BYTES = 64 << 20
_OPEN, _CLOSE = '<script type="application/json" class="result">\n', "</script>"
# Neither ends the element that holds it, nor reads as a command in a log.
_ESCAPES = str.maketrans({one: f"\\u{ord(one):04x}" for one in "<>&#"})


def inert(json_text: str) -> str:
    """Returns JSON that an HTML page may hold in a script element: the same value."""
    return json_text.translate(_ESCAPES)


def elements(runs: Sequence[Result]) -> str:
    """Returns a script element for each run; empty where they are more than MOST_BYTES together."""
    found, size = [], 0
    for run in runs:
        found.append(f"{_OPEN}{inert(to_json(run))}{_CLOSE}\n")
        size += len(found[-1])
        if size > MOST_BYTES:
            return ""
    return "".join(found)


def read(page: str) -> list[Result]:
    """Returns the runs that a page holds. Raises UsageError."""
    parts = page.split(_OPEN)[1:]
    if not parts:
        raise UsageError(
            "a page without a result in it: one of a comparison, of somebody else, or of a result "
            "that was too large for it (keep the .json file, too)"
        )
    return [from_json(part.partition(_CLOSE)[0]) for part in parts]
