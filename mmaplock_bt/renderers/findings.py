"""Findings in words, the same in every report, as plain text: each format escapes it."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mmaplock_bt import invocation
from mmaplock_bt.renderers import price
from mmaplock_bt.result.loss import missing
from mmaplock_bt.result.model import Finding, Result
from mmaplock_bt.units import counted

FIRST = 3  # on the first screen
WORTH = 50  # and at least one WORTH-th of the worst one
_UNSURE_CALM = "as far as was seen"
_SURE = {"estimated": "an estimate", "at least": "at least that"}


@dataclass(frozen=True)
class Said:
    """A finding in words; `remedy` and `command` are empty where there is none."""

    sentence: str
    remedy: str
    command: str


def said(finding: Finding) -> Said:
    """Returns a finding in words, the sentence with how sure it is."""
    words = _UNSURE_CALM if finding.harm == "calm" else _SURE.get(finding.sure, "")
    sure = "" if finding.sure == "exact" else f" ({words})"
    command = pasted([*invocation.words(), *finding.next]) if finding.next else ""
    return Said(f"{finding.sentence}{sure}", finding.remedy, command)


def pasted(words: Sequence[str]) -> str:
    """Returns a command line of printable characters that a shell reads as these words.

    What is not printable takes $'...' (bash, zsh, ksh, POSIX of 2024).
    """
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    # Three octal digits each: what follows is never read as one more.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _first(result: Result, most: int | None) -> list[Finding]:
    """Those that are worth a place on the first screen, or all."""
    found = result.findings or []
    if most is None or not found:
        return found
    return [one for one in found[:most] if one.total_ns * WORTH >= found[0].total_ns]


def of(result: Result, most: int | None = FIRST) -> list[Said]:
    """Returns the first `most` findings of a result, or all, in words; a remedy once."""
    found = [said(one) for one in _first(result, most)]
    told = [one.remedy for one in found]
    return [
        replace(one, remedy="") if one.remedy in told[:at] else one for at, one in enumerate(found)
    ]


def left(result: Result, most: int | None = FIRST) -> int:
    """Returns how many findings are behind the first `most`."""
    return len(result.findings or []) - len(_first(result, most))


def sentences(result: Result, most: int | None = FIRST) -> Iterator[str]:
    """Yields each finding as one text: the sentence, the remedy, the next command."""
    for one in of(result, most):
        parts = [one.sentence]
        if one.remedy:
            parts.append(f"What helps: {one.remedy}")
        if one.command:
            parts.append(f"Next: {one.command}")
        yield " ".join(parts)
    if found := left(result, most):
        yield f"… and {counted(found, 'smaller finding')}."


def worst(runs: Sequence[Result]) -> Result:
    """Returns the run whose findings are the worst: where others waited longest."""

    def waited_ns(run: Result) -> int:
        return sum(one.total_ns for one in run.findings or [] if one.harm in ("waited", "open"))

    return max(runs, key=waited_ns)


def complete(result: Result) -> str:
    """Returns in one sentence whether something is missing, and what it cost."""
    found = missing(result)
    parts = [f"INCOMPLETE: {found}." if found else "Complete: nothing is known to be missing."]
    if result.profile.locks == "contended":
        parts.append("Only locks that somebody waited for were followed (--locks all: every lock).")
    if share := price.share(result):
        parts.append(f"Tracing cost {share}.")
    return " ".join(parts)
