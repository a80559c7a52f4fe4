"""What the engine prints: the lines that bpftrace would, so that one parser reads both."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mmaplock_bt.stream.records import BOOK, CLOSED, HOLDING, LINES, PRINTED, WAITING
from mmaplock_bt.tracefs.spans import Spans

COMM_BYTES = 16


def text(name: bytes) -> str:
    r"""Returns a name as printf's %rx of sixteen bytes: 'a"' is '\x61\x22\x00…'."""
    return "".join(f"\\x{byte:02x}" for byte in name[:COMM_BYTES].ljust(COMM_BYTES, b"\0"))


def stack(frames: Iterable[str]) -> str:
    """Returns a kernel stack as printf's %s of kstack()."""
    return "".join(f"\n        {frame}" for frame in frames) + "\n"


class Lines:
    """Collects lines, and counts those of each name as scripts do."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._counts: Counter[str] = Counter()

    def take(self) -> bytes:
        """Returns what has been said since the last time."""
        said = "".join(f"{line}\n" for line in self._waiting)
        self._waiting.clear()
        return said.encode("utf-8", "surrogateescape")

    def say(self, name: str, *values: object) -> None:
        """Says a record: its name, and its values in the layout's order."""
        self._counts[name] += 1
        self.message("printf", "|".join([name, *map(str, values)]) + "\n")

    def told(self, name: str, **values: object) -> None:
        """Says one of a script's own records (stream/records), its values by name."""
        self.say(name, *(values[column.name] for column in LINES[name].columns))

    def own(self, line: str) -> None:
        """Says a record of the tool's own, a line of JSON."""
        self._waiting.append(line)

    def message(self, kind: str, data: Any) -> None:
        """Says what bpftrace says of itself, or a map."""
        self._waiting.append(json.dumps({"type": kind, "data": data}))

    def maps(self, found: Mapping[str, Mapping[str, int]]) -> None:
        """Says maps as they are printed at the end; '' is the key of what has none."""
        for name, entries in found.items():
            if entries:
                value = entries[""] if "" in entries else dict(entries)
                self.message("map", {f"@{name}": value})

    def last_maps(self, spans: Spans, books: Iterable[str], closed_ns: int | None) -> None:
        """Says what the script itself counts: its books, what is open, what it has printed."""
        holds, waits = spans.printed()
        kept = {name: getattr(spans.books, name) for name in books if hasattr(spans.books, name)}
        self.maps({f"{BOOK}{name}": {"": count} for name, count in kept.items()})
        self.maps({HOLDING: holds, WAITING: waits})
        self.maps({f"{PRINTED}{name}": {"": count} for name, count in self._counts.items()})
        if closed_ns is not None:
            self.maps({CLOSED: {"": closed_ns}})


def keyed(entries: Mapping[tuple[int, ...], int]) -> dict[str, int]:
    """Writes keys of several numbers as bpftrace joins them; of none it is 0."""
    return {",".join(map(str, key)) or "0": value for key, value in entries.items()}
