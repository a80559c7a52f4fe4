"""Writes docs/schemas/*.json for editors: python tools/schema_files.py [--check]."""

import json
import sys
from pathlib import Path

from mmaplock_bt.commands.schemas import KINDS, schema

FOLDER = Path(__file__).resolve().parent.parent / "docs/schemas"


def main(words: list[str]) -> int:
    wanted = {FOLDER / f"{kind}.json": json.dumps(schema(kind), indent=1) + "\n" for kind in KINDS}
    if words == ["--check"]:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in wanted.items()))
    FOLDER.mkdir(exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
