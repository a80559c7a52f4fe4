"""What the terminal reports share: rich's console into a text, and the verdicts."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mmaplock_bt.renderers.wording import explained
from mmaplock_bt.result.model import Verdict
from mmaplock_bt.units import safe

WIDTH = 99
_FAILED = {"error": "FAIL", "warn": "warning"}
_OUTCOMES = {
    "pass": "green", "fail": "bold red", "undecided": "bold yellow", "inconclusive": "bold yellow"
}  # fmt: skip


def make(*, color: bool) -> Console:
    return Console(
        file=io.StringIO(), width=WIDTH, force_terminal=color, no_color=not color, highlight=False
    )


def text(console: Console) -> str:
    """What was printed, without blanks at the ends of lines."""
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def gates(verdicts: Sequence[Verdict], console: Console, how: str = "") -> None:
    """Each gate with what was observed, on how many samples; the reason below it."""
    head = f"Gates ({how})" if how else "Gates"
    console.print(Text(head if verdicts else "No gates", style="bold"))
    for said in verdicts:
        mark = _FAILED[said.level] if said.outcome == "fail" else said.outcome
        line = Text("  ")
        line.append(f"{mark:<12}", style=_OUTCOMES[said.outcome])
        line.append(f" {safe(said.gate)}", style="bold")
        line.append("  (warn)" if said.level == "warn" else "")
        console.print(line, soft_wrap=True)
        console.print(Text(f"      {safe(explained(said))}", style="dim"), soft_wrap=True)
