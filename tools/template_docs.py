"""Writes docs/templates.md from the declarations: python tools/template_docs.py [--check]."""

import sys
from collections.abc import Iterator
from pathlib import Path

import written
from pydantic import BaseModel

from mmaplock_bt import resources
from mmaplock_bt.script.check import OWNERS, VALUES
from mmaplock_bt.spec import declaration, outputs
from mmaplock_bt.spec.columns import LEARNT, STANDARD, Column
from mmaplock_bt.spec.findings import CalmRule, FindingRule, Party

FILE = Path(__file__).resolve().parent.parent / "docs/templates.md"
BLOCKS = {
    "wait_began": "a thread asked for the lock",
    "wait_ended": "it got it",
    "hold_began": "the same moment: the hold is noted now",
    "hold_ended": "it let go, or downgraded; `$mode` is the mode that ended",
    "beat": "once a second, whatever locks do",
    "probes": "probes of the template's own, whole; `in_scope()` asks the filter about `$mm`",
    "renamed": "the process that opens and closes the window renamed itself; on this CPU",
    "cleanup": "in `END`: `clear()` what is no output",
}
KINDS: dict[str, type[BaseModel]] = {
    "Histogram, counted by the script": outputs.Histogram,
    "Counter, counted by the script": outputs.Counter,
    "Table, counted by the script": outputs.Table,
    "Table made of another output's rows": outputs.Group,
    "Events, recorded one by one": outputs.Events,
    "Events made from waits and holds": outputs.Derived,
    "Spans that have not ended": outputs.OpenSpans,
}
INTRODUCTION = """\
# Templates

Written by `python tools/template_docs.py` from the declarations; a test compares.

A template is one file, `NAME.bt.j2`: a declaration in YAML in its first Jinja comment, the line
`{% extends "_mmap_lock.bt.j2" %}`, and blocks of bpftrace. A profile names it:
`template: ./NAME.bt.j2`. Look at `mmaplock-bt script ./PROFILE.yaml` while you write, and let
`mmaplock-bt check ./PROFILE.yaml` tell what is wrong.

## Blocks

The base keeps the books and pairs starts with releases; it renders a block's text where its moment
is. A block that is empty costs nothing, nor does a probe or a map that only it would need.

A declaration may say `locks: [contended, all]`: the analysis can follow only locks that somebody
waits for, and does unless asked otherwise. There a wait begins when the thread queues, `hold_began`
comes for holders that had waited only, and `hold_ended` for holds that somebody waited behind, with
`$hold_ns` from the first waiter on. `locks` is `"contended"` or `"all"` while the template renders.
`samples: true` says that its figures stay right, scaled, when one lock in N is followed
(`--sample 1/N`).
"""
CALLS = """\
## What is given

- `{{ record("OUTPUT", VALUE) }}` adds one observation. Events take no value, their columns are
  looked up; a histogram or table counts VALUE, like `"$hold_ns"`.
- `{{ owner() }}` tells whose address space it is, in
  `%s`.
  `record()` calls it where the output has such a column; call it to use these names yourself.
  After it `{{ is_foreign }}` is the condition that the lock is another process's.
- `params.NAME` is a parameter, an integer (ns for durations). `{{ pid }}` and `{{ tid }}` are the
  actor's.
- `{{ quote(text) }}` makes a literal, `cpus` is how many there are, `filter` and `facts` are the
  profile's and the machine's.
- `@NAME[keys] = hist(VALUE)` and `= stats(VALUE)` fill an output, too, without maximum (a histogram
  without sum).
"""
FINDINGS = """\
## Findings

`findings` says which rows are told first in every report, in words; the worst come first. `calm`
says what is told where nobody waited. In `says` these names in braces are filled in:

- `{victim}` and `{culprit}`: the sides, `redis-server[812]`, or `37 processes named cat`
- `{cause}`: the row's cause in plain words, to stand behind "was" (`mmaplock-bt explain`)
- `{total}`, `{longest}`, `{often}` (how often, and the rhythm), `{share}` (of the window)
- every column of the row

How sure a finding is follows from the window: exact, an estimate, or at least. Its cause brings the
remedy; `run` names the next profile, which gets the filters that were given.

"""


def text() -> str:
    """Returns the whole page."""
    parts = [INTRODUCTION, "\n".join(_blocks()), CALLS % "`, `".join(f"${n}" for n in OWNERS)]
    parts += ["## Columns\n", "\n".join(_columns()), _learnt(), "## Parameters\n"]
    parts += ["\n".join(_fields(declaration.Param, ())), "## Outputs\n", *_kinds()]
    parts += [FINDINGS, "\n".join(_fields(FindingRule, ())), "Of the sides:\n"]
    parts += ["\n".join(_fields(Party, ())), "Of `calm`:\n", "\n".join(_fields(CalmRule, ()))]
    parts += ["## Shipped ones\n", *_shipped()]
    return "\n".join(parts).rstrip() + "\n"


def _blocks() -> Iterator[str]:
    yield from ("| block | when | values |", "|---|---|---|")
    for name, when in BLOCKS.items():
        values = " ".join(f"`${value}`" for value in VALUES[name])
        yield f"| `{name}` | {when} | {values} |"
    yield ""


def _columns() -> Iterator[str]:
    yield from ("| column | type | what it is |", "|---|---|---|")
    yield from (_column(column) for column in STANDARD.values())
    yield ""


def _column(column: Column) -> str:
    kind = column.type + (f", {column.unit}" if column.unit else "")
    labels = f": {', '.join(column.labels)}" if column.labels else ""
    where = "" if column.from_kernel else " (filled after tracing)"
    return f"| `{column.name}` | {kind} | {column.help}{labels}{where} |"


def _learnt() -> str:
    pairs = (f"`{key}` by {' and '.join(f'`{n}`' for n in names)}" for key, names in LEARNT.items())
    return (
        f"In a key a process is followed by what was learnt of it: {'; '.join(pairs)}. Keys hold "
        "integers only: no text, no stacks.\nA column of your own is "
        "`{name: overtakes, expression: $overtakes, unit: ns}`; the unit may be left out.\n"
    )


def _kinds() -> Iterator[str]:
    common = set(outputs.Counter.model_fields) - {"kind", "keys", "optional_keys", "every"}
    yield "All of them have\n"
    yield "\n".join(_fields(outputs.Counter, set(outputs.Counter.model_fields) - common))
    for title, model in KINDS.items():
        yield f"### {title}\n"
        yield f"`kind: {model.model_fields['kind'].annotation.__args__[0]}`\n"  # type: ignore[union-attr]
        yield "\n".join(_fields(model, {*common, "kind"}))


def _fields(model: type[BaseModel], without: object) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name not in without:  # type: ignore[operator]
            needed = " (needed)" if field.is_required() else ""
            yield f"- `{name}`{needed}: {field.description}"
    yield ""


def _shipped() -> Iterator[str]:
    for name in resources.shipped_names("templates", declaration.SUFFIX):
        declared = declaration.shipped(name).declaration
        yield f"### {name}\n"
        yield f"{declared.question}\n"
        for param, about in declared.params.items():
            yield f"- `{param}` = {about.default}: {about.help}"
        for output, made in declared.outputs.items():
            yield f"- output `{output}`, {made.kind}: {made.title}"
        yield ""


if __name__ == "__main__":
    sys.exit(written.main(sys.argv[1:], {FILE: text()}))
