"""Text from outside, where it becomes a line and where a whole text is written."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mmaplock_bt import escaping
from mmaplock_bt.errors import BpftraceError, UsageError

HARMFUL = st.sampled_from(
    ["\x1b[2J", "\x07", "\r", "\n::error::x", "\n  ::set-output name=x::y", "##[add-path]x",
     "##vso[task.setvariable variable=x]y", "\u200b", "\u202e", "\u2028", "\x9b31m", "\udcff",
     "\x00", "::"]
)  # fmt: skip
TEXTS = st.lists(st.text(max_size=9) | HARMFUL, max_size=9).map("".join)


def is_harmless(text: str) -> bool:
    """For a terminal and for the log of a CI that takes commands from it."""
    lines = text.split("\n")
    ours = any(re.match(r"\s*::", line) or re.search(r"##\w*\[", line) for line in lines)
    return not ours and all(line.replace("\t", "").isprintable() for line in lines)


@given(TEXTS)
def test_a_whole_text_is_harmless(text):
    found = escaping.lines(text)
    assert is_harmless(found)
    assert found.count("\n") == text.count("\n")
    assert escaping.lines(found) == found
    found.encode()


@given(TEXTS)
def test_a_text_that_is_harmless_stays_as_it_is(text):
    kept = "".join(one for one in text if one.isprintable() or one in "\n\t")
    if is_harmless(kept):
        assert escaping.lines(kept) == kept


@given(TEXTS)
def test_a_message_is_one_line(text):
    found = escaping.sentence(text)
    assert is_harmless(found) and "\n" not in found
    assert escaping.sentence(found) == found or len(found) > escaping.LONGEST_WORD


def test_colours_are_for_who_makes_them():
    assert escaping.lines("\x1b[1mx\x1b[0m\x1b[2J", colored=True) == "\x1b[1mx\x1b[0m\\x1b[2J"
    assert escaping.lines("\x1b[1mx") == "\\x1b[1mx"


def test_of_a_long_message_beginning_and_end_are_kept():
    for middle in ("x" * 3_000_000, "x " * 1_500_000, "\n" * 3_000_000):
        said = str(UsageError(f"--gate: '{middle}' is no gate: expected a limit"))
        assert len(said) < 5 * escaping.LONGEST
        assert said.startswith("--gate: '") and said.endswith("expected a limit")


def test_several_faults_are_a_line_each():
    assert str(UsageError("a\nb", "c")) == "a\\nb\nc"
    assert BpftraceError("it said:\n  x\x1b").sentences == ("it said:", "  x\\x1b")
