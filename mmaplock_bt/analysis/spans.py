"""Makes rows of open spans, each as the last look saw it."""

from typing import Any

from mmaplock_bt.analysis import causes, naming, rows
from mmaplock_bt.analysis.meanwhile import faulting
from mmaplock_bt.result.rows import Row
from mmaplock_bt.spec.outputs import OpenSpans
from mmaplock_bt.stream import bpftrace_json, lock_frames, records, stacks
from mmaplock_bt.stream.collect import Collected, Seen
from mmaplock_bt.stream.records import Span


def rows_of(output: OpenSpans, got: Collected) -> list[Row]:
    """Returns a row for every span that a look saw; `ended` says whether a later look missed it."""
    wanted = [row for row in latest(got) if row["ended"] == "no" or not output.open.last_only]
    return [rows.with_columns(row, output) for row in wanted]


def latest(got: Collected) -> list[Row]:
    """Returns every span as the last look that saw it did."""
    found = {key: _row(seen, got) for key, seen in got.seen.items()}
    acquired = {_thread_and_space(key): text for key, text in got.acquired.items()}
    for key, row in found.items():
        is_open = got.seen[key].now_ns == got.looked_ns
        row["ended"] = "no" if is_open else "yes"
        if is_open and key[:2] in acquired:
            row["kernel_stack"] = stacks.frames(acquired[key[:2]])
    return list(found.values())


def _thread_and_space(key: str) -> tuple[int, str]:
    tid, mm = map(bpftrace_json.integer, key.split(","))
    return tid, records.hexadecimal(mm)


def _row(seen: Seen, got: Collected) -> Row:
    span, stack = seen.span, seen.stack
    row: Any = {
        "state": span.state,
        "tid": span.tid,
        "mode": span.mode,
        "pid": span.pid,
        "comm": span.comm,
        "mm": span.mm,
        "time_ns": naming.since(seen.now_ns, got),
        "age_ns": seen.now_ns - span.since_ns,
        "certainty": _certainty(span),
        **_parties(seen, got),
        "current_stack": stack,
        **_kept(seen),
        "cause": causes.of_open(stack),
    }
    return row  # type: ignore[no-any-return]


def _kept(seen: Seen) -> dict[str, Any]:
    """What keeps it, as far as its stack at the last look tells."""
    reason = lock_frames.reason(seen.stack) if seen.span.state != "wait" else None
    doing = seen.doing if reason == lock_frames.FAULTS else None
    return {"reason": reason, **faulting(doing.faulting if doing else None)}


def _certainty(span: Span) -> str:
    """The rwsem's owner word names the writer, but of readers the last that came."""
    return "likely" if span.state not in ("wait", "hold") and span.mode == "read" else "exact"


def _parties(seen: Seen, got: Collected) -> dict[str, Any]:
    """Actor and owner, as far as the script told them."""
    found: dict[str, Any] = {"cgroup": None}
    if (space := seen.space) is not None:
        found |= {
            "owner_pid": space.owner_pid or None, "owner_kind": space.owner_kind,
            "owner_comm": space.owner_comm or None, "cgroup": got.cgroup(space.cgroup),
        }  # fmt: skip
    if (thread := seen.thread) is not None:
        found |= {"pid": thread.pid, "actor_kind": thread.actor_kind, "comm": thread.comm}
    return found
