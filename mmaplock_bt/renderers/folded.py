"""Folded stacks, for flame graphs: the actor and its frames from outermost in, and a weight."""

from mmaplock_bt.judging.series import Series
from mmaplock_bt.renderers.stack_weights import Stack, weighed

_APART = str.maketrans(";\n", ":_")  # one parts frames, the other lines


def render(series: Series, *, victim: bool = False) -> str:
    """Renders a line for each stack, weighed by ns held, or by ns that others waited."""
    lines: dict[str, int] = {}
    for stack, weight in weighed(series).of.items():
        ns = weight.victim_ns if victim else weight.hold_ns
        if ns:
            text = _line(stack)
            lines[text] = lines.get(text, 0) + ns
    return "".join(f"{text} {ns}\n" for text, ns in sorted(lines.items()))


def _line(stack: Stack) -> str:
    return ";".join(part.translate(_APART) for part in stack.under_actor())
