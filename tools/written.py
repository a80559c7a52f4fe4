"""Files that are written from the code: writes them, or with --check tells whether they are old."""

from collections.abc import Mapping
from pathlib import Path


def main(words: list[str], wanted: Mapping[Path, str]) -> int:
    """Writes the texts; with `--check` returns 1 where a file does not hold its own."""
    if words == ["--check"]:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in wanted.items()))
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0
