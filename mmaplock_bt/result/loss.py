"""Loss in words: for reports, and as a verdict's reason. And what an output leaves out."""

from mmaplock_bt.result.model import EventsData, OutputData, Result

RACED = "bpftrace lost a count: two CPUs met its key for the first time at once (0.24 loses none)"


def raced(result: Result) -> bool:
    """Whether a count is too small for a fault of bpftrace 0.23's: see `kind_of_error`."""
    return any(RACED in message for message in result.messages)


def missing(result: Result, *, stacks: bool = True) -> str:
    """Returns what is missing from a result, like 'lost events 3, the books do not balance'.

    Empty where nothing is. Without `stacks`, missing stacks are passed over.
    """
    loss = result.loss
    found = counted(result, stacks=stacks)
    if result.books.residue:
        found.append("the books do not balance")
    untold = not (found or loss.complete or loss.stack_errors)
    died = result.window.ended_by == "bpftrace_died" or not result.books.are_kept
    if loss.unseen or died or untold:
        found.append("bpftrace did not see the window through")
    return ", ".join(found)


def counted(result: Result, *, stacks: bool = True) -> list[str]:
    """Returns what was counted as missing; while a window is open no more is known."""
    loss = result.loss
    counts = {
        "missed events": loss.missed_events or 0,
        "map full": loss.map_full,
        "stack errors": loss.stack_errors if stacks else 0,
        "unparsed lines": loss.unparsed_lines,
    }
    found = [_lost(result)] if loss.lost_events else []
    found += [f"{name} {count:,}" for name, count in counts.items() if count]
    if loss.map_full:
        found.append("give the profile more map_keys")
    if loss.probes_attached != loss.probes_expected:
        found.append(f"probes attached {loss.probes_attached} of {loss.probes_expected}")
    return found


def _lost(result: Result) -> str:
    """'lost events 12 (holds 10, others 2)': of which outputs, where that is known."""
    loss = result.loss
    lines = loss.lost_lines or {}
    of = {name: n for name, n in lines.items() if name in result.declarations}
    of |= {"others": rest} if of and (rest := loss.lost_events - sum(of.values())) else {}
    each = f" ({', '.join(f'{name} {count:,}' for name, count in of.items())})" if of else ""
    hint = "; a higher threshold or a filter makes fewer" if of else ""
    return f"lost events {loss.lost_events:,}{each}{hint}"


def left_out(output: OutputData) -> str:
    """Returns what an output's rows leave out, like '20,000 of 1,000,000 events kept: ...'.

    Empty where nothing is.
    """
    found = [output.lacks] if output.lacks else []
    if isinstance(output, EventsData) and output.total is not None:
        kept = f"{len(output.rows):,} of {output.total:,} events kept"
        found.insert(0, f"{kept}: the first {output.first:,} and a sample of the rest")
    return "; ".join(found)
