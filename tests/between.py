"""The bpftraces that no registry offers, by those that it does: between.py RELEASE PROGRAM WORD...

A release between two of Debian's is the newer of them, which refuses what that release refuses, by
the words that it refuses it with. Its process is the program's own. What differs in how it prints
(`printed`) is not changed on the way: recorded streams are, in tests.
Not imitated: what an older one of Debian's refuses, too (fields read twice, up to 0.22), since
every script runs on that one; that 0.25.1 does not start on a kernel without modules.
Needs Python's own library only: it is run by itself, for each call of bpftrace.
"""

import ctypes
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Number = tuple[int, int]


@dataclass(frozen=True)
class Release:
    """A bpftrace: its whole number, who ships it, and which Debian's program stands for it."""

    version: str
    shipped: str
    suite: str


RELEASES = {
    "0.14": Release("0.14.0", "Ubuntu 22.04", "bookworm"),
    "0.20": Release("0.20.2", "Ubuntu 24.04", "trixie"),
    "0.21": Release("0.21.2", "Ubuntu 25.04", "trixie"),
    "0.22": Release("0.22.1", "RHEL 9", "trixie"),
    "0.24": Release("0.24.2", "", "sid"),
    "0.25": Release("0.25.1", "Ubuntu 26.04", "sid"),
    "0.26": Release("0.26.1", "", "sid"),
}
TRACING = tuple(name for name in RELEASES if name != "0.14")  # those that can
FIRST: Number = (0, 0)
LAST: Number = (9, 0)
UNWRITTEN = "unwritten"  # a map that a script names and never wrote to: 0.24 prints it
# Which releases take what machine/features.py tries.
TAKEN: dict[str, tuple[Number, Number]] = {
    "raw_tracepoint": ((0, 18), LAST),
    "ustack_raw": ((0, 18), LAST),
    "hist_64bit": ((0, 20), LAST),
    "hist_bits": ((0, 20), LAST),
    "config_block": ((0, 20), LAST),
    "for_loop": ((0, 21), LAST),
    "delete_key": ((0, 22), LAST),
    "helper_errors_flag": ((0, 16), (0, 23)),
}


@dataclass(frozen=True)
class Refusal:
    """What releases from `first` on and before `before` refuse, and how: (words, status).

    `found` is a pattern in a script without its comments and with empty strings.
    """

    first: Number
    before: Number
    found: str
    said: str
    status: int = 1


_SYNTAX = "ERROR: syntax error, unexpected {}"
_FUNCTION = "ERROR: Unknown function: '{}'"
_PROBE = "ERROR: Unrecognized probe type: {}"
# Numbers with # are pull requests of bpftrace's, as its changelog has them; the rest was measured
# with releases built from their tags.
REFUSALS = (
    # 0.16 (#2264): up to there uprobes on symbols that Debian's and Ubuntu's packages strip off.
    Refusal(
        FIRST, (0, 16), r"(?<![\w@$.>])(BEGIN|END)\b",
        "ERROR: Could not resolve symbol: /proc/self/exe:BEGIN_trigger", 255,
    ),
    Refusal(FIRST, (0, 18), r"^rawtracepoint:", _PROBE.format("rawtracepoint")),
    # #2581
    Refusal(FIRST, (0, 18), r"stack\(raw\b", "ERROR: Unknown identifier: 'raw'"),
    # #2578
    Refusal(FIRST, (0, 19), r"\bargs\.", _SYNTAX.format(".")),
    # #2815
    Refusal(FIRST, (0, 20), r"^config\s*=", _SYNTAX.format("=, expecting {")),
    # #2831
    Refusal(
        FIRST, (0, 20), r"\bhist\([^;]*, *\d+\)",
        "ERROR: hist() requires one argument (2 provided)",
    ),
    # #2840
    Refusal(FIRST, (0, 20), r"\blen\(", _FUNCTION.format("len")),
    # #3077
    Refusal(FIRST, (0, 21), r"^config\s*=[^}]*;\s*}", _SYNTAX.format("}")),
    # #3003
    Refusal(FIRST, (0, 21), r"\bfor\s*\(", _SYNTAX.format("(, expecting {")),
    # #3027
    Refusal(FIRST, (0, 21), r"\bprint\(@\w+\[", "ERROR: print() of a map's entry"),
    # #3461
    Refusal(FIRST, (0, 22), r"\blet\s", _SYNTAX.format("variable")),
    # #3358
    Refusal(FIRST, (0, 22), r"\bhas_key\(", _FUNCTION.format("has_key")),
    # #3472; in 0.21 it deletes several (#3046)
    Refusal(FIRST, (0, 22), r"\bdelete\(@\w+ *,", "ERROR: delete() takes a map and its key"),
    # #3390
    Refusal(
        FIRST, (0, 22), r"@\w+\[\([^)]*,", "ERROR: Integer tuple cannot be used as a map key"
    ),
    Refusal(FIRST, (0, 22), r"\bexit\([^)]", "ERROR: exit() requires no arguments (1 provided)"),
    # #3547
    Refusal(FIRST, (0, 22), r"\bprint_maps_on_exit\b", "ERROR: Unrecognized config variable"),
    # #3522
    Refusal(FIRST, (0, 22), r"^self:", _PROBE.format("self")),
    Refusal(FIRST, (0, 24), r"^(begin|end)\b", _PROBE.format("begin")),
    Refusal(FIRST, (0, 24), r"\b(errorf|tseries)\(", _FUNCTION.format("errorf")),
    Refusal(FIRST, (0, 25), r"^let @", _SYNTAX.format("let")),
    Refusal(FIRST, (0, 25), r"^macro\b|\bwarnf\(|\bbuild_id\b", _SYNTAX.format("identifier")),
    # From 0.25 on.
    Refusal(
        (0, 25), LAST, r"\bfor\s*\([^{]*{[^}]*\bexit\(",
        "ERROR: 'return' statement is not allowed in a for-loop",
    ),
    # From 0.25 on write and success are bool. Refused beside a number only, and told as true else.
    Refusal(
        (0, 25), LAST, r"\[args(->|\.)(write|success)\]",
        "ERROR: 'bool' when map expects arguments: 'int8'",
    ),
    # 0.25 (#5181, in 0.26): a number of less than 8 bytes as the key of a map of these.
    Refusal(
        (0, 25), (0, 26), r'@\w+\[(?!\(uint64\)|\$|")[^],]*] *= *(hist|lhist|tseries)\(',
        "ERROR: Error loading BPF program for BEGIN_1. Error code: -13.", 255,
    ),
)  # fmt: skip
_NO_CODE = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|//[^\n]*', re.DOTALL)
_TEXT_OR_BOOL = re.compile(r'"((?:[^"\\]|\\.)*)"(: )?|\b(true|false)\b')
# 0.23 and 0.24 copy the shorter of two strings beyond its end, which the verifier refuses.
_EITHER = re.compile(r'\? *"([^"\n]*)" *: *"([^"\n]*)"')
_ASSIGNED = re.compile(r"(@\w+)(?:\[[^;=]*])? *= *([^=;][^;]*);")


def number(version: str) -> Number:
    """The first two numbers of a version."""
    first, second = version.split(".")[:2]
    return int(first), int(second)


def facts(release: str) -> dict[str, bool]:
    """What is found out about a release by trying."""
    return {name: first <= number(release) < last for name, (first, last) in TAKEN.items()}


def refused(release: str, script: str) -> tuple[str, int] | None:
    """What a release says to a script that it refuses, and its exit status; else None."""
    text, asked = plain(script), number(release)
    for one in REFUSALS:
        if one.first <= asked < one.before and re.search(one.found, text, re.MULTILINE):
            return one.said, one.status
    if (0, 23) <= asked < (0, 25) and any(len(a) != len(b) for a, b in _EITHER.findall(script)):
        return (
            "ERROR: Error loading BPF program for BEGIN_1. Use -v for full kernel error log.",
            255,
        )
    if (0, 24) <= asked < (0, 26) and (mixed := _mixed(text)):
        return f"ERROR: {mixed}: trying to assign value of type 'uint64'", 1
    return None


def plain(script: str) -> str:
    """A script without comments, its strings empty."""
    return _NO_CODE.sub(lambda match: '""' if match[0][0] == '"' else " ", script)


def _mixed(text: str) -> str:
    """A map that is given a bare literal, which is an int64, and something else. 0.24, 0.25."""
    bare: dict[str, set[bool]] = {}
    for name, value in _ASSIGNED.findall(text):
        bare.setdefault(name, set()).add(bool(re.fullmatch(r"-?\d+", value.strip())))
    return next((name for name, kinds in bare.items() if len(kinds) > 1), "")


def printed(release: str, lines: Iterable[str]) -> Iterator[str]:
    """What a release prints where its program prints these lines of JSON."""
    asked = number(release)
    if asked >= (0, 24):  # up to 0.27.0 what the compiler warns of is among the JSON
        yield "stdin:1:1-4: WARNING: Return value discarded."
    for line in lines:
        is_map = line.startswith(('{"type": "map"', '{"type": "hist"'))
        if is_map and asked < (0, 22):
            yield _TEXT_OR_BOOL.sub(_escaped_once, line)
        elif is_map and asked == (0, 24):
            yield _TEXT_OR_BOOL.sub(_without_bools, line)
        else:
            yield line
    if asked == (0, 24):
        yield f'{{"type": "map", "data": {{"@{UNWRITTEN}": {{}}}}}}'


def _escaped_once(match: re.Match[str]) -> str:
    """0.22 and 0.23 escape keys twice, and indent frames by 8; before it is once, and by 4."""
    if not match[2]:  # no key
        return match[0]
    once = re.sub(r"\\(.)", r"\1", match[1])
    return f'"{once}": '.replace("\\n        ", "\\n    ")


def _without_bools(match: re.Match[str]) -> str:
    """From 0.25 on a bool is true or false, before it is a number."""
    numbers = {"true": "1", "false": "0"}
    if match[3]:
        return numbers[match[3]]
    if not match[2]:  # no key
        return match[0]
    parts = ",".join(numbers.get(part, part) for part in match[1].split(","))
    return f'"{parts}": '


def main() -> None:
    """Stands for a release: becomes its program, or refuses as it does."""
    release, program, *words = sys.argv[1:]
    version, asked = RELEASES[release].version, number(release)
    if "--version" in words:
        raise SystemExit(print(f"bpftrace v{version}"))
    if "--help" in words:
        raise SystemExit(print(_help(asked)))
    if asked >= (0, 23) and "-kk" in words:
        _refuse("ERROR: USAGE: -kk has been deprecated.", 1)
    text = _script(words)
    if refusal := refused(release, text):
        _refuse(*refusal)
    if asked in ((0, 25), (0, 26)) and "delete(" in text and not _has_btf():
        # Both go through the loaded BTF objects for what is no vmlinux's, and find none.
        _refuse("terminate: basic_string: construction from null is not valid", -6)
    os.execv(program, [program, *_options(words, asked)])


def _options(words: list[str], asked: Number) -> list[str]:
    """0.23 reports helpers' errors unless told not to, and has another -k."""
    if asked >= (0, 23):
        return words
    rest = [word for word in words if word not in ("-k", "-kk")]
    return rest if len(rest) < len(words) else ["--no-warnings", *rest]


def _help(asked: Number) -> str:
    flags = ["-k    emit a warning when a bpf helper returns an error (except read functions)"]
    if asked >= (0, 23):
        flags = ["-k    emit a warning when probe read helpers return an error"]
    if asked >= (0, 22):
        flags.append("--dry-run    terminate execution right after attaching all the probes")
    return "\n".join(["USAGE:", *flags])


def _script(words: list[str]) -> str:
    rest = iter(words)
    for word in rest:
        if word == "-e":
            return next(rest)
        if word in ("-f", "-o", "-B", "-I", "--include") or (word == "-d" and len(words) > 2):
            next(rest)
        elif not word.startswith("-"):
            return Path(word).read_text(encoding="utf-8")
    return ""


def _has_btf() -> bool:
    """Whether a BTF object is loaded besides vmlinux's, which is the first."""
    attributes = ctypes.create_string_buffer(struct.pack("II", 1, 0), 128)
    call = {"x86_64": 321}.get(os.uname().machine, 280)  # bpf(2)
    get_next_id = 23  # BPF_BTF_GET_NEXT_ID, include/uapi/linux/bpf.h
    return int(ctypes.CDLL(None).syscall(call, get_next_id, attributes, 128)) == 0


def _refuse(said: str, status: int) -> None:
    print(said, file=sys.stderr)
    if status < 0:
        sys.stderr.flush()
        os.kill(os.getpid(), -status)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
