"""explain: what a cause or a word of the reports means, and what people did about it."""

import argparse
import difflib
import re
import textwrap
from collections.abc import Iterator

from mmaplock_bt.commands.output import dump
from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import causes
from mmaplock_bt.spec.causes import Cause, Remedy, Term

WIDTH = 80
NEAR = 5  # of the names that an unknown one resembles

Entry = Cause | Term


def main(arguments: argparse.Namespace) -> int:
    """Prints a cause or a term, or all of them. Raises UsageError that names near ones."""
    asked = " ".join(arguments.name)
    found = _named(asked) if asked else _all()
    if arguments.json:
        dump(_as_json(found))
    elif asked:
        print("\n\n".join("\n".join(_entry(one)) for one in found))
    else:
        print("\n".join(_list(found)))
    return 0


def _all() -> list[Entry]:
    return [*causes.causes().values(), *causes.terms().values()]


def _named(asked: str) -> list[Entry]:
    """The entries of that name; else those that have it as an other name or as a part."""
    word = asked.casefold()
    for names in (_own_name, _other_names):
        if found := [one for one in _all() if word in map(str.casefold, names(one))]:
            return found
    if (described := causes.cause(asked)) is not None:  # told more closely than it is described
        return [described]
    near = ", ".join(f"'{name}'" for name in _near(word))
    hint = f"did you mean {near}?" if near else "'mmaplock-bt explain' lists all"
    raise UsageError(f"'{asked}' is no cause and no term: {hint}")


def _own_name(entry: Entry) -> tuple[str, ...]:
    return (entry.name,)


def _other_names(entry: Entry) -> tuple[str, ...]:
    """smaps of 'smaps/maps/numa_maps', MADV_FREE of 'madvise(MADV_FREE)', and all its advice."""
    if isinstance(entry, Term):
        return entry.also
    return (*filter(None, re.split(r"[/()]", entry.name)), *entry.advice)


def _near(word: str) -> list[str]:
    """Names that hold the word, then those that are spelt like it."""
    names = {name.casefold(): one.name for one in _all() for name in (one.name, *_other_names(one))}
    holding = [name for name in names if word in name]
    like = difflib.get_close_matches(word, names, NEAR, 0.6)
    return list(dict.fromkeys(names[name] for name in (*holding, *like)))[:NEAR]


def _list(entries: list[Entry]) -> Iterator[str]:
    width = max(len(one.name) for one in entries)
    yield "causes: it held the lock while it was ..."
    for one in entries:
        if isinstance(one, Cause):
            yield from _hanging(f"  {one.name:<{width}}  ", one.plain)
    yield "\nterms"
    yield from _wrapped(", ".join(one.name for one in entries if isinstance(one, Term)), 2)
    yield "\nmmaplock-bt explain NAME tells more."


def _entry(entry: Entry) -> Iterator[str]:
    yield f"{entry.name}: {entry.plain}" if isinstance(entry, Cause) else entry.name
    yield from _wrapped(entry.means, 2)
    if isinstance(entry, Cause):
        for remedy in entry.remedies:
            yield ""
            yield from _hanging("  * ", " ".join(told(remedy)))
            yield f"    {remedy.source}"
        for change in entry.changes:
            yield ""
            yield from _hanging("  - ", f"From Linux {change.kernel} on: {change.what}")
            yield f"    {change.source}"


def told(remedy: Remedy) -> Iterator[str]:
    """Yields the sentences of a remedy."""
    yield remedy.do
    if remedy.note:
        yield remedy.note
    if remedy.since:
        yield f"(From Linux {remedy.since} on.)"


def _wrapped(text: str, indent: int) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )


def _hanging(head: str, text: str) -> list[str]:
    margin = " " * len(head)
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=margin, break_on_hyphens=False
    )


def _as_json(entries: list[Entry]) -> dict[str, list[dict[str, object]]]:
    patterns = {"frames", "callers", "advice"}
    return {
        "causes": [one.model_dump(exclude=patterns) for one in entries if isinstance(one, Cause)],
        "terms": [one.model_dump() for one in entries if isinstance(one, Term)],
    }
