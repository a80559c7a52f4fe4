"""A strict command line: nothing is abbreviated or taken twice; a wrong word gets a hint."""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Callable, Collection, Sequence

from mmaplock_bt import NAME, invocation, standard_streams

TYPE_CHECKING = False  # --help does not wait for typing
if TYPE_CHECKING:
    from typing import Any, NoReturn

SUFFIXES = (".yaml", ".yml")
# verb -> (what it is for, the words of a call). Calls that need root are shown as root's.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("who waited for whom, in the next ten seconds", "run -d 10s"),
        ("the same of one process's address space, or of two", "run -d 10s -p 1234 -p 5678"),
        ("of a container, or of a unit of systemd", "run -d 10s --container 3f2a1b4c5d6e"),
        ("whose holds others waited behind, until Ctrl-C", "run blame"),
        (
            "a command's, with a parameter, kept",
            "run long-holds --set threshold=5ms -o r.json -- make",
        ),
        ("exit code 1 when it is worse", "run hold-times --gate 'hold.p99 < 5ms' -- ./bench"),
        ("stay armed for a rare freeze", "run blame --trap 'hold > 50ms' --captures 3"),
    ),
    "top": (
        ("who holds the locks of this machine, and who waits", "top"),
        ("of one process's address space, for a minute", "top -p 1234 -d 60s"),
    ),
    "list": (("for programs", "list --json"),),
    "show": (("its parameters are what --set takes", "show long-holds"),),
    "check": (
        ("before it is run", "check ./mine.yaml"),
        ("for programs", "check ./mine.yaml --json"),
    ),
    "script": (("a bpftrace tool by itself", "script long-holds > long-holds.bt"),),
    "gate": (
        ("a result, by another limit", "gate r.json --gate 'hold.max < 50ms'"),
        ("the worst of repeated runs", "gate runs/ --judge worst --budget budget.yaml"),
    ),
    "compare": (
        ("two series of runs", "compare runs-before/ runs-after/"),
        ("exit code 1 when it is worse", "compare a/ b/ --fail-on 'hold.p99:+10%'"),
        ("as a page, with heat maps and stacks", "compare a/ b/ -o diff.html"),
    ),
    "report": (
        ("all that a result holds", "report r.json -vv"),
        ("as Markdown", "report r.json -o r.md --format none"),
        ("as a page, style and scripts in files beside it", "report r.json -o page/"),
        ("from elsewhere", "report - < r.json"),
    ),
    "merge": (
        ("many hosts' results, in runs/host=NAME/", "merge runs/"),
        ("kept for SQL", "merge runs/ -o fleet.parquet"),
        (
            "whose lock was held longest at once, for programs",
            "merge web1/ web2/ --rank hold --json",
        ),
    ),
    "schema": (("for an editor that checks profiles", "schema profile > profile.json"),),
    "doctor": (("for a bug report", "doctor --json"),),
    "explain": (
        ("what a cause means, and what helps", "explain smaps"),
        ("what a word of the reports means", "explain downgrade"),
    ),
    "agent": (
        ("on 127.0.0.1:9435, by what it takes by default", "agent"),
        ("by a file, elsewhere", "agent agent.yaml --listen 127.0.0.1:9436"),
    ),
    "selftest": (
        ("another bpftrace", "selftest --bpftrace /opt/bpftrace/bin/bpftrace"),
        ("without any", "selftest --engine tracefs"),
    ),
}
AS_ROOT = ("run", "top", "doctor", "selftest", "agent")
MAIN = (("run", 0), ("run", 1), ("run", 3), ("report", 0))


class Parser(argparse.ArgumentParser):
    """Takes whole options only, each that holds one value once; `given` has what was given.

    `end` makes the end of the help text, when it is wanted.
    """

    def __init__(self, end: Callable[[], str] = str, **kind: Any) -> None:
        kind.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kind)
        self.register("action", None, _Once)
        self._end = end

    def format_help(self) -> str:
        """Returns the help text with its end."""
        self.epilog = self._end()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Exits with 2 and one sentence; argparse would print the whole usage before it."""
        self.refuse(f"{message} ({self.prog} --help tells all)")

    def refuse(self, sentence: str) -> NoReturn:
        """Exits with 2 and this sentence, which says what to do."""
        standard_streams.tell(f"{NAME}: {sentence}")
        self.exit(2)

    @property
    def options(self) -> list[str]:
        """Every option's long name."""
        return [name for name in self._option_string_actions if name.startswith("--")]


class _Once(argparse.Action):
    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given: set[str] = namespace.__dict__.setdefault("given", set())
        if option_string is not None and self.dest in given:
            raise argparse.ArgumentError(self, "given twice, and it takes one value")
        if option_string is not None:
            given.add(self.dest)
        setattr(namespace, self.dest, values)


def examples(*wanted: tuple[str, int]) -> str:
    """Returns the examples as the end of a help text: what for, then the words to paste."""
    lines = ["examples:"]
    for verb, turn in wanted:
        purpose, words = EXAMPLES[verb][turn]
        lines += [f"  # {purpose}", f"  {called(verb, words)}"]
    return "\n".join(lines)


def of_verb(verb: str) -> str:
    """Returns a sub-command's examples."""
    return examples(*((verb, turn) for turn in range(len(EXAMPLES[verb]))))


def called(verb: str, words: str) -> str:
    """Returns a call of this tool as it works here, by root or by anybody."""
    found = invocation.words() if verb in AS_ROOT else invocation.words(as_root=False)
    return f"{shlex.join(found)} {words}"


def stray(verb: str, own: list[str], left: Sequence[str], options: list[str]) -> str:
    """Returns the sentence for words that are not understood, with what was perhaps meant."""
    first = left[0]
    if first.startswith("-") and first != "-":
        return f"unknown option {first}{_close(first, options)}"
    if verb == "run":
        return f"a COMMAND comes after --: {_with_dashes(own, left)}"
    return f"{verb} takes no '{first}'"


def instead(own: list[str], verbs: Collection[str]) -> str:
    """Returns a hint where a profile stands in a sub-command's place, else ''."""
    first = own[0] if own else "-"
    if first in verbs or first.startswith("-") or not is_profile(first):
        return ""
    return f"{first} is a profile: {invocation.command('run', *own)}"


def is_profile(word: str) -> bool:
    """Tells whether a word names a profile: one that is shipped, the user's own, or a path."""
    from mmaplock_bt import resources  # noqa: PLC0415  (only where something is wrong)

    if "/" in word or word.endswith(SUFFIXES):
        return True
    folder = resources.user_profiles()
    is_mine = folder is not None and (folder / (word + SUFFIXES[0])).is_file()
    return is_mine or word in resources.shipped_names("profiles", SUFFIXES[0])


def as_command(words: Sequence[str]) -> str:
    """Returns a hint where words that name no profile are a program's, else ''."""
    if is_profile(words[0]) or not shutil.which(words[0]):
        return ""
    return f"; a COMMAND comes after --: {invocation.command('run', '--', *words)}"


def _with_dashes(own: list[str], left: Sequence[str]) -> str:
    """The line with -- before the words that are left; a profile that is none is one of them."""
    ours, found = list(own), list(left)
    for word in found:
        ours.remove(word)
    if len(ours) > 1 and not ours[1].startswith("-") and as_command(ours[1:2]):
        found.insert(0, ours.pop(1))
    return invocation.command(*ours, "--", *found)


def _close(word: str, options: list[str]) -> str:
    import difflib  # noqa: PLC0415

    name = word.partition("=")[0]
    begins = [option for option in options if option.startswith(name)]
    close = begins or difflib.get_close_matches(name, options, n=1)
    return f": did you mean {' or '.join(close)}?" if close else ""
