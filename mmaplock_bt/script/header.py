"""The comment at the top of a script: its question, its usage, how to read its output."""

import re
import textwrap
from collections.abc import Iterator

from mmaplock_bt import __version__
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.spec.columns import ACTOR_KINDS, FAULTS, OWNER_KINDS
from mmaplock_bt.spec.outputs import Output
from mmaplock_bt.spec.profile import Profile

WIDTH = 96
BOOKS = (
    "@book_*  the books: starts + downgrades = acquires + failed + open waits,",
    "         acquires - releases - downgrades = open holds",
)


def head(profile: Profile, machine: Machine, *, by_hand: bool) -> str:
    """Returns the first line and the comment of a script."""
    lines = [
        *_wrapped(f"{profile.name}: {profile.description}"),
        "",
        *(_usage(profile, machine) if by_hand else _for_the_tool()),
        "",
        *_made_for(profile, machine),
        "",
        *(_by_hand(profile) if by_hand else _for_records(profile)),
    ]
    # A description must not end the comment: bpftrace would run the rest, as root.
    body = "\n".join(f" * {line}".rstrip() for line in lines).replace("*/", "* /")
    return f"#!/usr/bin/env bpftrace\n/*\n{body}\n */\n"


def config(profile: Profile, facts: dict[str, bool | str]) -> str:
    """Returns a config block with the maps' size, where bpftrace knows such blocks (0.20).

    For scripts that are run by hand; the tool sets the size in the environment.
    """
    return f"\nconfig = {{ max_map_keys = {profile.map_keys} }}\n" if facts["config_block"] else ""


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines at blanks, and after the bars of a record."""

    wordsep_simple_re = re.compile(r"([\t\n\x0b\x0c\r ]+|(?<=\|))")


def _wrapped(text: str, indent: str = "") -> list[str]:
    wrapper = _Wrapper(
        WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )
    return wrapper.wrap(" ".join(text.split()))


def _usage(profile: Profile, machine: Machine) -> Iterator[str]:
    # No release has a builtin for bpftrace's own pid; after exec the shell's pid is it.
    yield f"USAGE: sh -c 'exec bpftrace {profile.template.name}.bt $$'"
    yield "  $$ will be bpftrace's own process id: its locks are left out. Ctrl-C ends it."
    if not machine.facts.get("config_block"):
        names = ("BPFTRACE_MAP_KEYS_MAX", "BPFTRACE_MAX_MAP_KEYS")  # up to 0.19, from 0.20
        yield f"  Before: export {' '.join(f'{name}={profile.map_keys}' for name in names)}"


def _for_the_tool() -> Iterator[str]:
    yield "As mmaplock-bt runs it, which reads its output; `mmaplock-bt script` writes one for you."


def _made_for(profile: Profile, machine: Machine) -> Iterator[str]:
    facts = ", ".join(f"{k}={v}" for k, v in sorted(machine.facts.items())) or "none looked up"
    settings = ", ".join(f"{k}={v}" for k, v in profile.params.items()) or "none"
    yield from _wrapped(
        f"Rendered by mmaplock-bt {__version__} for Linux {machine.kernel} {machine.arch}, "
        f"bpftrace {machine.bpftrace}."
    )
    yield from _wrapped(f"Facts: {facts}.")
    yield from _wrapped(f"Parameters (durations in ns): {settings}.")
    yield from _wrapped(f"Filter: {profile.filter.model_dump_json(exclude_defaults=True)}.")
    yield f"Maps: {profile.map_keys} keys each (map_keys in the profile)."


def _by_hand(profile: Profile) -> Iterator[str]:
    declaration = profile.template.declaration
    yield "Output (times in us):"
    for name, output in declaration.outputs.items():
        if output.is_printed:
            yield from _wrapped(f"{_name(name, output)}: {output.title}", "  ")
    yield f"  owner_kind: {_numbered(OWNER_KINDS)}"
    yield f"  actor_kind: {_numbered(ACTOR_KINDS)}"
    if any(column.name == "fault" for o in declaration.outputs.values() for column in o.columns):
        yield from _wrapped(f"fault: {_numbered(FAULTS)}", "  ")
    yield from (f"  {line}" for line in BOOKS)
    if declaration.sample:
        yield from ("", "SAMPLE", *declaration.sample.rstrip().splitlines())


def _name(name: str, output: Output) -> str:
    if output.kind == "events":
        return name
    return f"@{name}{'_us' if output.unit == 'ns' and output.kind != 'counter' else ''}"


def _numbered(labels: tuple[str, ...]) -> str:
    return ", ".join(f"{number} {label}" for number, label in enumerate(labels))


def _for_records(profile: Profile) -> Iterator[str]:
    yield "Output (mode 0 is read, 1 is write):"
    for name, output in profile.template.declaration.outputs.items():
        if output.is_printed:
            yield from _wrapped(_legend(name, output), "  ")
    yield from (f"  {line}" for line in BOOKS)


def _legend(name: str, output: Output) -> str:
    columns = [column.name for column in output.printed]
    if output.kind == "events":
        return f"{'|'.join([name, *columns])}: {output.title}"
    keys = ", ".join(columns)
    if output.kind == "histogram":
        return f"@{name}[{keys}, bucket's lower end]: {output.title}, {output.unit}"
    return f"@{name}[{keys}]: {output.title}, count; @{name}_sum and @{name}_max in {output.unit}"
