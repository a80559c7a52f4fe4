"""Writes docs/mmaplock-bt.1 from the parser: python tools/man_page.py [--check].

Not by argparse-manpage: it repeats each usage as text and knows no examples and exit codes.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import written

from mmaplock_bt import BPFTRACE, NAME, __version__, command_line, usage
from mmaplock_bt.commands import listing

FILE = Path(__file__).resolve().parent.parent / "docs/mmaplock-bt.1"
ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
EXIT = re.compile(r"(\d+) (.+?)(?= {2,}|\n|$)")
DESCRIPTION = (
    "The kernel's mmap_lock guards a process's address space: page faults, mmap(2), fork(2) and "
    "readers of /proc/PID/smaps take it. mmaplock-bt fills bpftrace programs, runs them and says "
    "whose address space was locked, by whom, for how long, with which stack, and who waited.",
    "An analysis is a PROFILE: one that is shipped (below), one of the user's own, or the path of "
    "a YAML file. Tracing needs root; what reads saved results does not.",
)
ENVIRONMENT = {
    BPFTRACE: "the bpftrace that is run, where --bpftrace names none (bpftrace on PATH)",
    "NO_COLOR, FORCE_COLOR": "no color, or color off a terminal, too",
    "XDG_CONFIG_HOME": "where the user's own profiles are, in mmaplock-bt/profiles (~/.config)",
    "XDG_CACHE_HOME": "where it is kept what the machine offers (~/.cache)",
}
FILES = {
    "~/.config/mmaplock-bt/profiles/NAME.yaml": "the user's own profiles, run by NAME",
    "/etc/mmaplock-bt/agent.yaml": "what the agent is told when it is started as a service",
    "/var/lib/mmaplock-bt/captures": "what its trap captures, where that file names this folder",
}


def text() -> str:
    """Returns the whole page, as man(7) reads it."""
    parser, verbs = command_line.parsers()
    summary = parser.description or ""
    parts = [
        f'.TH MMAPLOCK\\-BT 1 "" "{_escaped(f"{NAME} {__version__}")}" "User Commands"',
        f".SH NAME\n{_escaped(NAME)} \\- {_escaped(summary[0].lower() + summary[1:].rstrip('.'))}",
        _section("SYNOPSIS", _synopsis(parser)),
        _section("DESCRIPTION", ("\n.PP\n".join(map(_escaped, DESCRIPTION)),)),
        _section("OPTIONS", _arguments(parser)),
        _section("COMMANDS", (line for name in verbs for line in _verb(name, verbs[name]))),
        _section("PROFILES", (_item(*one) for one in listing.shipped().items())),
        _section("EXIT STATUS", (_item(*found) for found in EXIT.findall(command_line.EXIT_CODES))),
        _section("ENVIRONMENT", (_item(*one) for one in ENVIRONMENT.items())),
        _section("FILES", (_item(*one) for one in FILES.items())),
        ".SH SEE ALSO\n.BR bpftrace (8),\n.BR proc (5)",
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, lines: Iterator[str] | tuple[str, ...]) -> str:
    return "\n".join([f".SH {title}", *lines])


def _synopsis(parser: usage.Parser) -> tuple[str, ...]:
    words = parser.format_usage().removeprefix("usage: ").removeprefix(NAME)
    return (f".B {_escaped(NAME)}\n{_escaped(' '.join(words.split()))}",)


def _verb(name: str, parser: usage.Parser) -> Iterator[str]:
    yield f".SS {_escaped(name)}"
    for part in (parser.description or "").split("\n\n"):
        yield _verbatim(part) if "\n" in part else _escaped(part)
    yield from _synopsis_of(parser)
    yield from _arguments(parser)
    yield ".PP\nExamples:"
    yield _verbatim(
        "\n".join(
            f"# {purpose}\n{'sudo ' if name in usage.AS_ROOT else ''}{NAME} {words}"
            for purpose, words in usage.EXAMPLES[name]
        )
    )


def _synopsis_of(parser: usage.Parser) -> Iterator[str]:
    """The words that stand without a dash; the options follow below."""
    named = [one for one in parser._actions if not one.option_strings]
    words = [f"[{one.metavar}]" if one.nargs in ("?", "*") else _value(one) for one in named]
    words += ["[-- COMMAND...]"] if parser.prog.endswith(" run") else []
    yield f".PP\n.B {_escaped(parser.prog)}\n{_escaped(' '.join(['[options]', *words]))}"


def _arguments(parser: usage.Parser) -> Iterator[str]:
    for group in parser._action_groups:
        known = [one for one in group._group_actions if _is_told(one)]
        if known and group.description:
            yield f".PP\n{_escaped(group.description)}"
        yield from (_item(_names(one), _help(parser, one)) for one in known)


def _is_told(action: argparse.Action) -> bool:
    """The sub-commands are a section of their own."""
    return not isinstance(action, argparse._SubParsersAction)


def _names(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {_value(action)}"
    return ", ".join(action.option_strings) + value if action.option_strings else _value(action)


def _value(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(action.choices) + "}"
    return str(action.metavar or action.dest.upper())


def _help(parser: usage.Parser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _item(name: str, words: str) -> str:
    return f".TP\n.B {_escaped(name)}\n{_escaped(words)}"


def _verbatim(words: str) -> str:
    return f".PP\n.nf\n.RS 4\n{_escaped(words)}\n.RE\n.fi"


def _escaped(words: str) -> str:
    """Text for roff, which takes no dash and quote as it is, and a dot at the begin for a request.

    groff_char(7).
    """
    lines = ("".join(ESCAPES.get(one, one) for one in line) for line in words.split("\n"))
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in lines)


if __name__ == "__main__":
    sys.exit(written.main(sys.argv[1:], {FILE: text()}))
