"""What is computed twice is dropped, and only that."""

import pytest

from mmaplock_bt.script.tidy import tidy

X = "//[x]\n$x = 1;\n//[/x]\n"


def tidied(text: str) -> list[str]:
    return tidy(text).strip("\n").split("\n")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\n{\nX b;\n}\n", 1),
        ("a\n{\nX X b;\n}\n", 1),  # the same block
        ("a\n{\nX if (b) {\nX c;\n}\n}\n", 1),  # an enclosing block
        ("a\n{\nX if (b) {\nif (c) {\nX d;\n}\n}\n}\n", 1),
        ("a\n{\nif (b) {\nX c;\n}\nX d;\n}\n", 2),  # an inner block before
        ("a\n{\nif (b) {\nX c;\n}\nif (d) {\nX e;\n}\n}\n", 2),  # siblings
        ("a\n{\nif (b) {\nX c;\n} else {\nX d;\n}\n}\n", 2),
        ("a\n{\nif (b) {\nX c;\n}\nelse {\nX d;\n}\n}\n", 2),
        ("a\n{\nX if (b) {\nX c;\n} else {\nX d;\n}\n}\n", 1),
        ("a\n{\nX b;\n}\nc\n{\nX d;\n}\n", 2),  # another probe
        ("a\n{\nif (b) { c; }\nX if (d) { e; }\nX f;\n}\n", 1),
        ("a\n{\nif (b) {\nX c; }\nX d;\n}\n", 2),
        ("a\n{\nif (b) {\nX }\nX d;\n}\n", 2),
    ],
)
def test_a_section_is_dropped_where_it_is_known(text, kept):
    lines = tidied(text.replace("X ", X))
    assert [line.strip() for line in lines].count("$x = 1;") == kept


def test_nothing_else_is_dropped_and_no_mark_stays():
    text = f"a\n{{\n{X}b;\n{X}c;\n//[y]\nd;\n//[/y]\n// [x] e\n}}\n"
    assert tidied(text) == ["a", "{", "  $x = 1;", "  b;", "  c;", "  d;", "  // [x] e", "}"]


def test_a_section_within_one_that_is_dropped_is_not_known_by_it():
    inner = "//[x]\n$x = 1;\n//[y]\n$y = 1;\n//[/y]\n//[/x]\n"
    text = f"a\n{{\n//[x]\n$x = 1;\n//[/x]\n{inner}//[y]\n$y = 1;\n//[/y]\n}}\n"
    assert [line.strip() for line in tidied(text)] == ["a", "{", "$x = 1;", "$y = 1;", "}"]


def test_lines_are_indented_by_their_braces():
    text = "BEGIN\n{\nif (a) {\nb;\n} else {\nc;  // {\n}\n}\nEND\n{\n}\n"
    assert tidied(text) == [
        "BEGIN", "{", "  if (a) {", "    b;", "  } else {", "    c;  // {", "  }", "}",
        "", "END", "{", "}",
    ]  # fmt: skip
