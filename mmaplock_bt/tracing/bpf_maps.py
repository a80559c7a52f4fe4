"""bpftrace's own maps, read and written while it runs, through duplicates of its descriptors.

bpftrace cannot do it in every release: printing a map that changes kills 0.17, loops over maps came
with 0.21. bpf(2) and pidfd_getfd(2) (Linux 5.6) need no release, and bpftrace notices nothing.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.machine import bpf_call

# enum bpf_map_type, include/uapi/linux/bpf.h
HASH, PER_CPU_HASH, PER_CPU_ARRAY = 1, 5, 6
_GONE = "bpftrace was gone before its maps were read"
_BATCH = 4096  # entries that are asked for at once; more than any bucket of the kernel's has


class Map:
    """A map of integers: keys are tuples of uint64, values are uint64.

    A value of a per-CPU map is the sum over all CPUs, or what else is asked for. An array, in which
    some releases keep what has no key, has one of ().
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        information = ctypes.create_string_buffer(88)
        bpf_call.call(
            bpf_call.INFO, struct.pack("IIQ", descriptor, 88, ctypes.addressof(information))
        )
        # bpf_map_info: type, id, key size, value size, max_entries, flags, name.
        fields = struct.unpack_from("6I16s", information.raw)
        self.key_bytes, self.value_bytes, self.size = fields[2:5]
        is_per_cpu = fields[0] in (PER_CPU_HASH, PER_CPU_ARRAY)
        self._values = possible_cpus() if is_per_cpu else 1
        self.name = fields[6].split(b"\0")[0].decode(errors="replace")

    def items(self, of_cpus: Callable[[Iterable[int]], int] = sum) -> dict[tuple[int, ...], int]:
        """Returns what is in the map now (BPF_MAP_LOOKUP_BATCH, Linux 5.6).

        Of values of several words it is the first: from 0.21 on a maximum has a flag behind it.
        The kernel copies bucket by bucket: entries may change between. Raises BpftraceError.
        """
        found: dict[tuple[int, ...], int] = {}
        most = min(self.size, _BATCH)
        keys = ctypes.create_string_buffer(self.key_bytes * most)
        values = ctypes.create_string_buffer(self.value_bytes * self._values * most)
        position, next_position = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
        start = 0
        while True:
            attributes = struct.pack(
                "QQQQIIQQ", start, ctypes.addressof(next_position), ctypes.addressof(keys),
                ctypes.addressof(values), most, self.descriptor, 0, 0,
            )  # fmt: skip
            with _not_preempted():
                _, said, failed = bpf_call.bpf(bpf_call.LOOKUP_BATCH, attributes)
            count = struct.unpack_from("I", said, 32)[0]
            words, each = self.key_bytes // 8, self.value_bytes // 8
            for at in range(count):
                key = struct.unpack_from(f"{words}Q", keys, at * self.key_bytes)
                at_byte, number = at * self._values * self.value_bytes, self._values * each
                value = struct.unpack_from(f"{number}Q", values, at_byte)
                found[key] = of_cpus(value[::each])
            # ENOENT comes with the last batch, which may hold entries.
            if failed in (errno.ENOENT, 0) and (failed or not count):
                return found
            if failed:
                raise BpftraceError(f"the map {self.name} cannot be read: {os.strerror(failed)}")
            position, next_position = next_position, position
            start = ctypes.addressof(position)

    def get(self, key: tuple[int, ...]) -> int | None:
        """Returns one entry of a hash, None if there is none. Raises OSError."""
        return self._asked(bpf_call.LOOKUP, key)

    def take(self, key: tuple[int, ...]) -> int | None:
        """Deletes one entry and returns what it was, None if there is none; at once (Linux 5.14).

        Raises OSError.
        """
        return self._asked(bpf_call.LOOKUP_AND_DELETE, key)

    def put(self, key: tuple[int, ...], value: int) -> None:
        """Adds or replaces one entry. Raises OSError."""
        self._update(key, value, 0)

    def add(self, key: tuple[int, ...], value: int) -> None:
        """Adds an entry unless there is one. Raises OSError."""
        with suppress(FileExistsError):
            self._update(key, value, bpf_call.NO_EXIST)

    def delete(self, key: tuple[int, ...]) -> None:
        """Deletes one entry; no matter if there is none. Raises OSError."""
        words = ctypes.create_string_buffer(struct.pack(f"{len(key)}Q", *key))
        attributes = struct.pack("I4xQ", self.descriptor, ctypes.addressof(words))
        try:
            bpf_call.call(bpf_call.DELETE, attributes)
        except FileNotFoundError:
            return

    def _asked(self, command: int, key: tuple[int, ...]) -> int | None:
        words = ctypes.create_string_buffer(struct.pack(f"{len(key)}Q", *key))
        value = ctypes.create_string_buffer(self.value_bytes)
        places = ctypes.addressof(words), ctypes.addressof(value)
        try:
            bpf_call.call(command, struct.pack("I4xQQ", self.descriptor, *places))
        except FileNotFoundError:
            return None
        return int(struct.unpack_from("Q", value)[0])

    def _update(self, key: tuple[int, ...], value: int, flags: int) -> None:
        words = ctypes.create_string_buffer(struct.pack(f"{len(key) + 1}Q", *key, value))
        where = ctypes.addressof(words)
        behind = where + 8 * len(key)
        bpf_call.call(bpf_call.UPDATE, struct.pack("I4xQQQ", self.descriptor, where, behind, flags))


def of_process(
    pid: int,
    kind: int = HASH,
    wanted: Set[str] | None = None,
    *,
    needed: Set[str] = frozenset(),
    largest: int = 8,
) -> dict[str, Map]:
    """Returns a running bpftrace's maps of a kind, by their names in the script.

    `wanted` are those that are kept, None is all; those `needed` are there; `largest` is how many
    bytes a value may have. Raises BpftraceError where bpftrace is gone, or going (it closes one
    after the other), or the kernel does not let them be read.
    """
    found: dict[str, Map] = {}
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        raise BpftraceError(_GONE) from error
    try:
        for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
            if f"map_type:\t{kind}\n" in _told(entry):
                one = Map(bpf_call.duplicate(process, int(entry.name)))
                # The kernel takes no @ in a map's name (bpf_obj_name_cpy): it is AT_ or left out.
                name = one.name.removeprefix("AT_").removeprefix("@")
                if (wanted is None or name in wanted) and one.value_bytes in range(
                    8, largest + 1, 8
                ):
                    found[name] = one
                else:
                    os.close(one.descriptor)
    except OSError as error:
        close(found)
        raise BpftraceError(f"bpftrace's maps cannot be read: {error}") from error
    finally:
        os.close(process)
    if not needed <= found.keys():
        close(found)
        raise BpftraceError(_GONE)
    return found


def _told(entry: Path) -> str:
    """Empty for a descriptor that was closed since it was listed: bpftrace reads files, too."""
    try:
        return entry.read_text()
    except FileNotFoundError:
        return ""


def possible_cpus() -> int:
    """Returns how many there may be: a per-CPU value has room for each (linux/cpumask.h)."""
    said = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    # '0-3', '0,2-5'
    ends = [part.split("-") for part in said.strip().split(",")]
    return sum(int(one[-1]) - int(one[0]) + 1 for one in ends)


def close(found: dict[str, Map]) -> None:
    """Closes the maps' descriptors."""
    for one in found.values():
        os.close(one.descriptor)


@contextmanager
def _not_preempted() -> Iterator[None]:
    """Real-time for a moment: a task inside a map operation must not be preempted.

    Until it goes on, its CPU runs no tracing program (bpf_prog_active), and others' events are
    missed.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, parameters)
