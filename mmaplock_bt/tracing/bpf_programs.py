"""bpftrace's programs: which probe each belongs to, how often and for how long it ran.

The kernel counts runs and their time only while statistics are on. A program that is not run since
another one runs on that CPU misses an event; that is counted always.
"""

import ctypes
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmaplock_bt.machine import bpf_call

NAME_BYTES = 15  # BPF_OBJ_NAME_LEN less its NUL
PROC = Path("/proc")
_STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
_PROBE = re.compile(r"^\w+:[^\s,{]+", re.MULTILINE)
_INFO = struct.Struct("64x16s")  # bpf_prog_info up to its name


@dataclass(frozen=True)
class Figures:
    """What the kernel counted of one program; `missed` is None where it does not count that."""

    runs: int
    run_ns: int
    missed: int | None


@dataclass(frozen=True)
class Program:
    """A program as the kernel shows it: its name's beginning, and a tracepoint it is linked to."""

    identity: int
    name: str
    tracepoint: str = ""


def switch_statistics_on() -> int:
    """Switches them on for as long as the returned descriptor is open (Linux 5.8).

    The kernel counts such descriptors, and closes this one however this process ends. Raises
    OSError, without CAP_SYS_ADMIN above all.
    """
    return bpf_call.call(bpf_call.ENABLE_STATS, struct.pack("I", 0))  # BPF_STATS_RUN_TIME


def are_statistics_on() -> bool:
    """Tells whether kernel.bpf_stats_enabled keeps them on, whatever we do."""
    try:
        return _STATISTICS.read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


class Programs:
    """The programs of a bpftrace that runs; those that it has when it is asked first."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptors = list(of_kind("bpf-prog", pid))
        self._probes: dict[int, str] | None = None

    def figures(self) -> dict[int, Figures]:
        """Returns what the kernel counted of each program, by id. Raises OSError."""
        infos = (_info(self.pid, descriptor) for descriptor in self._descriptors)
        return {int(info["prog_id"]): _figures(info) for info in infos}

    def probes(self, script: str) -> dict[int, str]:
        """Returns the probes of the script by the ids of their programs. Raises OSError."""
        if self._probes is None:
            self._probes = named(probes_of(script), self._programs())
        return self._probes

    def _programs(self) -> Iterator[Program]:
        links = [_info(self.pid, descriptor) for descriptor in of_kind("bpf_link", self.pid)]
        linked = {link["prog_id"]: link["tp_name"] for link in links if "tp_name" in link}
        process = os.pidfd_open(self.pid)
        try:
            for descriptor in self._descriptors:
                identity = _info(self.pid, descriptor)["prog_id"]
                name = _name(process, descriptor)
                yield Program(int(identity), name, linked.get(identity, ""))
        finally:
            os.close(process)


def probes_of(script: str) -> list[str]:
    """Returns the probes that a script names at the beginning of a line, in its order."""
    return _PROBE.findall(script)


def named(wanted: Iterable[str], programs: Iterable[Program]) -> dict[int, str]:
    """Finds each program's probe.

    Names are cut off, and equal then: programs are made in the order of the script.
    """
    left, found = list(wanted), {}
    for one in sorted(programs, key=lambda program: program.identity):
        probe = next((probe for probe in left if _fits(probe, one)), None)
        if probe is not None:
            left.remove(probe)
            found[one.identity] = probe
    return found


def _fits(probe: str, program: Program) -> bool:
    """0.17 names a program by the probe's last part, from 0.18 on by the whole and a number."""
    last = probe.rpartition(":")[2]
    if program.tracepoint:
        return program.tracepoint == last
    whole = re.sub(r"\W", "_", probe) + "_"
    names = {re.sub(r"\W", "_", last)[:NAME_BYTES], whole[:NAME_BYTES]}
    return program.name in names or program.name.startswith(whole)


def _name(process: int, descriptor: int) -> str:
    """Empty where a security module lets nobody have another process's descriptors."""
    try:
        ours = bpf_call.duplicate(process, descriptor)
    except OSError:
        return ""
    try:
        found = ctypes.create_string_buffer(_INFO.size)
        bpf_call.call(bpf_call.INFO, struct.pack("IIQ", ours, _INFO.size, ctypes.addressof(found)))
        return str(_INFO.unpack(found.raw)[0].split(b"\0")[0].decode(errors="replace"))
    finally:
        os.close(ours)


def of_kind(kind: str, pid: int) -> Iterator[int]:
    """The descriptors that a process has of a kind. Taking a look takes no lock of the process."""
    for entry in sorted((PROC / f"{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):
            if str(entry.readlink()) == f"anon_inode:{kind}":
                yield int(entry.name)


def _info(pid: int, descriptor: int) -> dict[str, str]:
    text = (PROC / f"{pid}/fdinfo/{descriptor}").read_text("utf-8", "replace")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _figures(info: Mapping[str, str]) -> Figures:
    missed = info.get("recursion_misses")  # Linux 5.12
    return Figures(
        int(info["run_cnt"]), int(info["run_time_ns"]), None if missed is None else int(missed)
    )
