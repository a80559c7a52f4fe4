"""What terminal reports share: rich's console into a text, and the list of gates."""

import io
from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.text import Text

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.wording import explained
from mmaplock_bt.result.model import Verdict

WIDTH = 99  # where no terminal tells its own
UNBROKEN = "\u00a0"  # a blank at which no cell is broken; no name holds it, it is not printable
_FAILED = {"error": "FAIL", "warn": "warning"}
_OUTCOMES = {
    "pass": "green", "fail": "bold red", "undecided": "bold yellow", "inconclusive": "bold yellow"
}  # fmt: skip


def make(*, color: bool, width: int = WIDTH) -> Console:
    """Returns a console that prints into memory, with escape sequences only for `color`."""
    # Not from the environment: whoever calls has looked at it.
    system: Literal["standard"] | None = "standard" if color else None
    return Console(
        file=io.StringIO(), width=width, color_system=system, force_terminal=color,
        no_color=not color, highlight=False, markup=False, emoji=False,
    )  # fmt: skip


def text(console: Console) -> str:
    """Returns what was printed on it, without blanks at the ends of lines."""
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().replace(UNBROKEN, " ")
    return "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"


def gates(verdicts: Sequence[Verdict], console: Console, how: str = "") -> None:
    """Prints each gate with its outcome, what was observed, and the reason."""
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
