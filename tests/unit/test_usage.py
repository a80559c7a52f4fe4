"""Wrong words get a hint that can be pasted; help has examples that are understood."""

import itertools
import shlex

import pytest

from mmaplock_bt import command_line, invocation, usage

HERE = "mmaplock-bt run"  # in tests the words do not hang on the machine
CASES = [
    (("run", "blame", "sleep", "1"), f"a COMMAND comes after --: {HERE} blame -- sleep 1"),
    (("run", "blame", "ls", "-l"), f"{HERE} blame -- ls -l"),
    (("run", "blame", "-d", "5s", "sleep", "1"), f"{HERE} blame -d 5s -- sleep 1"),
    (("run", "sleep", "1"), f"{HERE} -- sleep 1"),
    (("run", "sleep"), f"a COMMAND comes after --: {HERE} -- sleep"),
    (("blame", "-d", "5s"), f"blame is a profile: {HERE} blame -d 5s"),
    (("run", "--dur", "5s"), "unknown option --dur: did you mean --duration?"),
    (("run", "--ower-comm=x"), "unknown option --ower-comm=x: did you mean --owner-comm?"),
    (("run", "--xyzzy"), "unknown option --xyzzy\n"),
    (("report", "a", "b"), "report takes no 'b'"),
    (("report", "r.json", "--form", "json"), "did you mean --format?"),
]


@pytest.mark.parametrize(("words", "said"), CASES, ids=[" ".join(c[0]) for c in CASES])
def test_a_hint(cli, words, said):
    done = cli(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_abbreviations_are_unknown_in_every_command():
    parser, verbs = command_line.parsers()
    for one in (parser, *verbs.values()):
        assert not one.allow_abbrev


@pytest.mark.parametrize("verb", command_line.COMMANDS)
def test_help_has_examples_that_are_understood(cli, verb):
    text = cli(verb, "--help").stdout
    (prefix, *_), root = invocation.words(as_root=False), invocation.words()
    lines = text.partition("examples:\n")[2].splitlines()
    calls = [line.strip() for line in lines if line.strip() and not line.startswith("  #")]
    assert calls
    for line in calls:
        starts = root if verb in usage.AS_ROOT else [prefix]
        words = list(itertools.takewhile(lambda word: word not in "<>", shlex.split(line)))
        assert words[: len(starts)] == starts
        assert words[len(starts)] == verb
        command_line.parse(words[len(starts) :])


def test_the_exit_codes_stand_in_the_main_help_only(cli):
    assert "5 inconclusive" in cli("--help").stdout
    for verb in command_line.COMMANDS:
        assert "5 inconclusive" not in cli(verb, "--help").stdout


@pytest.mark.parametrize("verb", command_line.COMMANDS)
def test_every_option_has_a_text(verb):
    _, verbs = command_line.parsers()
    assert [one.dest for one in verbs[verb]._actions if not one.help] == []
