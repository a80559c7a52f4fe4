"""A fault of this program's own: what was collected is kept, and told in one sentence."""

import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mmaplock_bt import NAME, __version__, person
from mmaplock_bt.errors import Failure, Fault, UsageError

DETAILS = "fault.txt"
Texts = Callable[[], Mapping[str, str]]  # by the names of the files that are to hold them


@contextmanager
def keeping(texts: Texts) -> Iterator[None]:
    """Makes a Fault of any exception in the block that is no Failure, and keeps the texts."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        raise of(error, texts) from error


@contextmanager
def delivering(texts: Texts) -> Iterator[None]:
    """As keeping(), for what writes a result: it is kept, too, where it cannot be written."""
    try:
        with keeping(texts):
            yield
    except UsageError as error:
        kept = _kept(_made(texts))
        found = UsageError(f"{error}{f'; {kept}' if kept else ''}")
        found.exit_code = error.exit_code  # a gate's, perhaps
        raise found from error


def of(error: BaseException, texts: Texts = dict) -> Fault:
    """Returns the sentence for an exception that nobody foresaw, and keeps the details."""
    words = " ".join([NAME, *sys.argv[1:]])
    details = "".join(traceback.format_exception(error))
    files = {DETAILS: f"mmaplock-bt {__version__}, Python {sys.version}\n{words}\n{details}"}
    kept = _kept(_made(texts) | files)
    said = str(error).strip().partition("\n")[0][:200]
    what = f"{type(error).__name__}{f': {said}' if said else ''}"
    return Fault(f"a fault of mmaplock-bt itself, not of what was traced ({what}); {kept}")


def _made(texts: Texts) -> dict[str, str]:
    with suppress(Exception):  # what made the fault may be in what was collected
        return dict(texts())
    return {}


def _kept(files: Mapping[str, str]) -> str:
    """Writes the files into a new folder for this user alone; returns where, or why not."""
    if not files:
        return ""
    try:
        with person.acting():
            folder = Path(tempfile.mkdtemp(prefix="mmaplock-bt-kept-"))
            for name, text in files.items():
                with (folder / name).open("x", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(text)
    except OSError as error:
        return f"{_listed(files)} could not be kept ({error.strerror}): set TMPDIR to a free disk"
    return f"kept in {folder}: {_listed(files)}"


def _listed(files: Mapping[str, str]) -> str:
    meanings = {
        DETAILS: f"{DETAILS} (where it happened: please report it)",
        "raw.ndjson": "raw.ndjson (what was traced, for `report`)",
    }
    return ", ".join(meanings.get(name, name) for name in files)
