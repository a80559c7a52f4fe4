"""Writes docs/schemas/*.json for editors: python tools/schema_files.py [--check]."""

import json
import sys
from pathlib import Path

import written

from mmaplock_bt.commands.schemas import KINDS, schema

FOLDER = Path(__file__).resolve().parent.parent / "docs/schemas"


def main(words: list[str]) -> int:
    wanted = {FOLDER / f"{kind}.json": json.dumps(schema(kind), indent=1) + "\n" for kind in KINDS}
    FOLDER.mkdir(exist_ok=True)
    return written.main(words, wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
