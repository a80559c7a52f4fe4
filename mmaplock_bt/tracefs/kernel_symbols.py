"""Names of kernel functions by address, from /proc/kallsyms, as bpftrace prints: 'do_exit+647'.

Addresses in it are 0 where kernel.kptr_restrict hides them: frames stay numbers then.
"""

from bisect import bisect_right
from functools import cached_property
from pathlib import Path

KALLSYMS = Path("/proc/kallsyms")
_LARGEST = 1 << 20  # no function is: what lies further is another module's, of no name
_TEXT = "tTwW"
_MOST = 1 << 16  # names that are remembered


class KernelSymbols:
    """Looks frames up; the file is read when the first is asked for."""

    def __init__(self, file: Path = KALLSYMS) -> None:
        self._file = file
        self._known: dict[int, str] = {}

    def name(self, address: int) -> str:
        """Returns a frame's function and offset; its address where it has none."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[address] = self._looked_up(address)
        return found

    def _looked_up(self, address: int) -> str:
        addresses, names = self.functions
        at = bisect_right(addresses, address) - 1
        if at < 0 or not 0 <= address - addresses[at] < _LARGEST:
            return f"0x{address:x}"
        return f"{names[at]}+{address - addresses[at]}"

    @cached_property
    def functions(self) -> tuple[list[int], list[str]]:
        """Addresses of all functions in ascending order, and their names."""
        found: list[tuple[int, str]] = []
        try:
            with self._file.open(encoding="ascii", errors="replace") as file:
                for line in file:
                    address, kind, name, *_ = line.split()
                    if kind in _TEXT and (at := int(address, 16)):
                        found.append((at, name))
        except (OSError, ValueError):
            return [], []
        found.sort(key=lambda one: one[0])
        return [at for at, _ in found], [name for _, name in found]
