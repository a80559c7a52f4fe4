"""Who a thread is and whose an address space is, as the script says it once for each."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mmaplock_bt.spec.columns import ACTOR_KINDS, MODES, OWNER_KINDS
from mmaplock_bt.stream import stacks
from mmaplock_bt.stream.bpftrace_json import Printed

NAMES = ("whose", "thread", "holder", "running")
Facts = dict[str, Any]


@dataclass
class Parties:
    """The latest word on each; a thread id or an address may serve another one later."""

    threads: dict[int, Facts] = field(default_factory=dict)  # by tid
    spaces: dict[int, Facts] = field(default_factory=dict)  # by mm
    running: dict[tuple[int, int], Facts] = field(default_factory=dict)  # by tid and mm
    holders: dict[int, Facts] = field(default_factory=dict)  # by mm: the rwsem's owner word

    def note(self, record: Printed) -> None:
        """Raises ValueError when the record cannot be read."""
        words = record.rest.split("|")
        if record.name == "thread":
            tid, pid, kind = map(int, words[:3])
            self.threads[tid] = {
                "pid": pid, "actor_kind": ACTOR_KINDS[kind], "comm": text(words[3])
            }  # fmt: skip
        elif record.name == "whose":
            pid, kind, cgroup = map(int, words[1:4])
            self.spaces[int(words[0], 16)] = {
                "owner_pid": pid or None, "owner_kind": OWNER_KINDS[kind], "cgroup": cgroup,
                "owner_comm": text(words[4]) or None,
            }  # fmt: skip
        elif record.name == "running":
            tid, now = int(words[0]), int(words[2])
            frames = stacks.frames(record.rest.split("|", 3)[3])
            self.running[tid, int(words[1], 16)] = {"time_ns": now, "stack": frames}
        elif record.name == "holder":
            now, reader, tid, pid = map(int, words[1:5])
            self.holders[int(words[0], 16)] = {
                "time_ns": now, "mode": MODES[not reader], "tid": tid, "pid": pid,
                "comm": text(words[5]),
            }  # fmt: skip

    def learn(self, record: Printed) -> None:
        """As note(), for a listener: what cannot be read is the analysis' to report."""
        with suppress(ValueError, IndexError):
            self.note(record)


def text(escaped: str) -> str:
    r"""'\x61\x22\x00…' -> 'a"': sixteen bytes up to the NUL. Bytes that are not UTF-8 stay \xNN."""
    raw = bytes.fromhex(escaped.replace("\\x", "")).split(b"\0", 1)[0]
    return raw.decode("utf-8", "backslashreplace")
