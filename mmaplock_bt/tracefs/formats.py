"""Where the fields of an event lie, as its `format` file in tracefs says."""

import re
from dataclasses import dataclass
from struct import Struct

from mmaplock_bt.errors import TargetError
from mmaplock_bt.machine.inventory import NO_COMMAND

_FIELD = re.compile(
    r"^\s*field: ?(?P<type>[^;]+?)(?P<name>\w+)(?:\[[^\]]*\])?;\s*"
    r"offset:(?P<offset>\d{1,6});\s*size:(?P<size>\d{1,6});",
    re.MULTILINE,
)
_ID = re.compile(r"^ID: (\d{1,5})$", re.MULTILINE)
_WHOLE = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True)
class Place:
    """Where a field lies in an event, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class Format:
    """An event's number in the buffer, and its fields by name."""

    event: int
    fields: dict[str, Place]

    def reader(self, *names: str) -> Struct:
        """Returns what unpacks these fields, in the order in which they lie in the event.

        Numbers come without a sign, longer fields as bytes. Raises TargetError for one that this
        kernel's event has not.
        """
        places = []
        for name in names:
            if name not in self.fields:
                found = f"the event {self.event} has no field {name} in this kernel's tracefs"
                raise TargetError(found, f"{NO_COMMAND}: trace with bpftrace")
            places.append(self.fields[name])
        words, at = ["="], 0
        for place in places:
            words += [f"{place.offset - at}x", _WHOLE.get(place.size, f"{place.size}s")]
            at = place.offset + place.size
        return Struct("".join(words))


def parse(text: str) -> Format:
    """Reads a `format` file; header_page has no number: 0 then."""
    number = _ID.search(text)
    fields = {
        found["name"]: Place(int(found["offset"]), int(found["size"]))
        for found in _FIELD.finditer(text)
    }
    return Format(int(number[1]) if number else 0, fields)
