"""What every report says is missing from a run; plain text, for each format to escape."""

from mmaplock_bt.result import Result


def missing(result: Result) -> str:
    """'lost events 3, the books do not balance'; empty where the run is complete."""
    loss = result.loss
    if loss.complete:
        return ""
    names = ("lost_events", "map_full", "stack_errors", "unparsed_lines")
    found = [f"{n.replace('_', ' ')} {getattr(loss, n):,}" for n in names if getattr(loss, n)]
    if loss.map_full:
        found.append("give the profile more map_keys")
    if loss.probes_attached != loss.probes_expected:
        found.append(f"probes attached {loss.probes_attached} of {loss.probes_expected}")
    if result.books.residue:
        found.append("the books do not balance")
    return ", ".join(found) or "bpftrace did not see the window through"
