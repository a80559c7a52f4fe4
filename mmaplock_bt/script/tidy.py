"""Makes rendered text a readable program: indented, nothing computed twice."""

import re

_BRACE = re.compile(r"[{}]")
_MARK = re.compile(r"//\[(/?)(\w+)\]")


def tidy(rendered: str) -> str:
    """Indents by two for each open brace, with a blank line before each probe.

    What stands between `//[x]` and `//[/x]` is dropped where an enclosing block, or this one
    further up, has it already: so templates may ask for it wherever they need it.
    """
    lines: list[str] = []
    known: dict[str, int] = {}  # section -> depth of the block that has it
    skipped: str | None = None
    depth = 0
    for line in filter(None, (raw.strip() for raw in rendered.splitlines())):
        if mark := _MARK.fullmatch(line):
            skipped = _section(mark, skipped, known, depth)
        elif skipped is None:
            code = line.split("//")[0]
            leading = len(code) - len(code.lstrip("}"))
            if depth == 0 and (not lines or lines[-1] == "}"):
                lines.append("")
            lines.append("  " * (depth - leading) + line)
            for brace in _BRACE.findall(code):
                depth += 1 if brace == "{" else -1
                known = {name: at for name, at in known.items() if at <= depth}
    return "\n".join(lines) + "\n"


def _section(
    mark: re.Match[str], skipped: str | None, known: dict[str, int], depth: int
) -> str | None:
    """The section that is skipped from here on, if any."""
    ends, name = mark[1], mark[2]
    if skipped is not None:
        return None if ends and skipped == name else skipped
    if not ends and name in known:
        return name
    known.setdefault(name, depth)
    return None
