"""Makes text from outside harmless: for terminals, for logs that a CI reads, for files.

Names, paths, words of the command line and whatever stands in a file may hold anything. A text is
escaped where it becomes a line (`safe`); what is written as a whole passes `lines`, too.
"""

import re

# Characters of a sentence, and of a word in it: what it quotes may be megabytes.
LONGEST, LONGEST_WORD = 2000, 300
SHOWN = 60  # letters of a text from outside, where what it should be is said beside it
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
# A line that begins so is a command to GitHub's runner (actions/runner, ActionCommand.cs: blanks
# before it are passed over); the others are commands wherever they stand: to GitHub's runner of
# old, to Azure's (##vso[) and to TeamCity's (##teamcity[).
_COMMAND = re.compile(r"^((?:\s|\x1b\[[0-9;]*m)*):(?=:)", re.MULTILINE)
_OLD_COMMAND = re.compile(r"#(?=#\w*\[)")
_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")  # as rich writes them
_BLANKS = str.maketrans("", "", "\n\t")


def safe(value: object) -> str:
    r"""Returns text that a terminal can bear: what is not printable becomes an escape like \x1b.

    That is everything that moves, colours, hides or turns what stands beside it: control
    characters, line ends, bidirectional and zero-width characters, lone surrogates.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object, letters: int = SHOWN) -> str:
    """Returns a text from outside for a sentence about it: escaped, and cut where it is long."""
    text = str(value)
    cut = "" if len(text) <= letters else f"… ({len(text):,} letters)"
    return safe(text[:letters]) + cut


def sentence(value: object) -> str:
    """Returns a message as one line of bounded length.

    Of what is too long its middle goes: its beginning says what is wrong, its end what to do.
    """
    text = _LONG_WORD.sub(lambda word: _cut(word[0], LONGEST_WORD), _cut(str(value), LONGEST))
    return lines(safe(text))


def lines(text: str, *, colored: bool = False, commands: bool = False, escape: str = "\\x") -> str:
    r"""Returns a whole text in which no line is a CI's command and nothing moves a cursor.

    Line ends and tabs are the writer's; `colored` and `commands` are for one who makes them.
    `escape` is what stands before two hexadecimal digits: '\u00' in JSON.
    """
    if not text.translate(_BLANKS).isprintable():
        parts = _COLOURS.split(text) if colored else [text]
        text = "".join(part if at % 2 else _whole(part) for at, part in enumerate(parts))
    if "::" in text and not commands:
        text = _COMMAND.sub(rf"\1{_doubled(escape)}3a", text)
    return _OLD_COMMAND.sub(f"{_doubled(escape)}23", text) if "##" in text else text


def plain(text: str) -> str:
    r"""Returns text that any UTF-8 file can hold: what was no UTF-8 becomes \xNN.

    Names of threads are bytes; surrogates stand for those that are no UTF-8.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    kept = room // 2
    return f"{text[:kept]}… ({len(text) - 2 * kept:,} characters) …{text[-kept:]}"


def _whole(text: str) -> str:
    return "".join(one if one in "\n\t" else safe(one) for one in re.split(r"([\n\t])", text))


def _doubled(escape: str) -> str:
    return escape.replace("\\", "\\\\")
