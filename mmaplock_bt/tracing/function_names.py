"""What functions are called, read from strangers' files in a child process."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from mmaplock_bt.tracing import apart, elf, perf_map

Kind = Literal["elf", "perf map"]
Key = str
Named = tuple[Kind, Key, dict[str, tuple[str, int]]]
SHARE = 0.5  # of the time that is left, for one file
_NAMERS = {"elf": elf.functions, "perf map": perf_map.names}


@dataclass(frozen=True)
class Asked:
    """A file, and the places in it that are to be named."""

    kind: Kind
    key: Key
    file: BinaryIO
    places: frozenset[int]


@dataclass
class Names:
    """'name+decimal offset', as bpftrace writes it, by place, for each file that was read."""

    found: dict[tuple[str, Key], dict[int, str]] = field(default_factory=dict)

    def was_read(self, kind: Kind, key: Key) -> bool:
        """Whether there was time for a file."""
        return (kind, key) in self.found

    def of(self, kind: Kind, key: Key, place: int) -> str | None:
        """Returns what lies at a place, if it is known."""
        return self.found.get((kind, key), {}).get(place)


def found(asked: Iterable[Asked], seconds: float) -> Names:
    """Returns what the files say; those with the most places are asked first."""
    in_order = sorted(asked, key=lambda one: -len(one.places))
    names = Names()
    if not in_order:
        return names
    for kind, key, told in apart.results(lambda: _read(in_order, seconds), seconds):
        into = names.found.setdefault((kind, key), {})
        into |= {int(place): f"{name}+{offset}" for place, (name, offset) in told.items()}
    return names


def _read(asked: list[Asked], seconds: float) -> Iterator[Named]:
    """In the child: the names as they stand in each file, then those of C++ once more, readable."""
    until_s = time.monotonic() + seconds
    mangled: list[Named] = []
    for one in asked:
        told = _one(one, (until_s - time.monotonic()) * SHARE)
        if told is not None:
            yield told
            mangled.append(told)
    yield from _demangled(mangled)


def _one(asked: Asked, seconds: float) -> Named | None:
    named: Mapping[int, tuple[str, int]] = {}
    try:
        apart.no_longer_than(max(seconds, 0.001))
        named = _NAMERS[asked.kind](asked.file, asked.places)
        apart.no_longer_than(0)
    except apart.TooLongError:
        return None
    except MemoryError:
        pass
    return asked.kind, asked.key, {str(place): name for place, name in named.items()}


def _demangled(named: list[Named]) -> Iterator[Named]:
    """C++'s own function does it, which is no reader of hostile text: what it breaks is too late.

    So it runs last, and without privileges.
    """
    cplusplus = [
        (kind, key, {place: one for place, one in names.items() if one[0].startswith("_Z")})
        for kind, key, names in named
    ]
    if not any(names for _, _, names in cplusplus):
        return
    import cxxfilt  # noqa: PLC0415  (looks for a C++ library)

    apart.unprivileged()
    for kind, key, names in cplusplus:
        told = {}
        for place, (name, offset) in names.items():
            with suppress(cxxfilt.Error, OSError):
                told[place] = str(cxxfilt.demangle(name))[: elf.NAME], offset
        yield kind, key, told
