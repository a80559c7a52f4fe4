"""What may be said on the command line, and the sub-command that each verb is."""

import argparse
import functools
import os

from mmaplock_bt import BPFTRACE, __version__, usage
from mmaplock_bt.errors import UsageError

EXIT_CODES = """exit codes:
  0 done   1 a gate or self-test failed   2 wrong usage or profile   3 this machine cannot trace
  4 bpftrace failed   5 inconclusive   6 the traced command failed
  70 a fault of mmaplock-bt itself   130 interrupted, no result"""
GATES = """Conditions on the result, like 'hold{mode=write}.p99 < 5ms' or
'warn: long_holds.count == 0'. All are judged; one that cannot be judged is inconclusive."""
RANKS = ("waited", "wait", "hold", "lost")
JUDGES = ("median", "worst", "every")
FORMATS = (
    *("table", "json", "gates", "junit", "github", "markdown", "html"),
    *("openmetrics", "bencher", "smaller", "gobench"),
    *("folded", "folded-victim", "speedscope", "pprof", "perfetto"),
)
# Each may be repeated: any of those given is meant.
FILTERS = (
    (("-p", "--pid"), "PID", "this process's address space, whoever takes its lock"),
    (("--actor-pid",), "PID", "locks taken by this process's threads"),
    (("--comm",), "NAME", "locks taken by threads of this name"),
    (("--owner-comm",), "NAME", "address spaces of processes of this name"),
    (("--cgroup",), "PATH", "address spaces of this memory cgroup and those below it"),
    (("--container",), "ID|NAME", "address spaces of this container: its id's head, or its name"),
    (("--unit",), "NAME", "address spaces of this unit of systemd, like nginx"),
    (("--actor-cgroup",), "PATH", "locks taken from this cgroup and those below it"),
    (("--actor-container",), "ID|NAME", "locks taken from this container"),
    (("--actor-unit",), "NAME", "locks taken from this unit of systemd"),
)
KEYS = """keys:
  space  freezes the screen, or lets it go on; collecting always does
  s      sorts by the next column       /  shows what a text is found in
  Enter  opens a holder                 w  writes the result so far
  j k    and the arrows move            q  and Esc end it; the report follows"""
TRACERS = ("run", "top")
# name -> (module, function, help). Imported when called only: rich, jinja2 and pydantic are slow.
COMMANDS = {
    "run": ("run", "main", "trace with a profile and report"),
    "top": ("top", "main", "look on while it traces: who holds, who waits"),
    "list": ("listing", "main", "the profiles that can be named"),
    "show": ("profiles", "show_main", "what a profile asks, takes and yields"),
    "check": ("profiles", "check_main", "all faults of a profile, with line and column"),
    "script": ("profiles", "script_main", "the profile as a standalone bpftrace program"),
    "gate": ("gate", "main", "judge saved results by gates; pass, fail or inconclusive (no root)"),
    "compare": ("compare", "main", "what changed between two series of runs (no root)"),
    "report": ("report", "main", "show a saved result or raw stream again (no root)"),
    "merge": ("merge", "main", "results of many hosts: ranked, merged, as Parquet (no root)"),
    "explain": (
        "explain",
        "main",
        "what a cause or a word of the reports means, what helps (no root)",
    ),
    "schema": ("schemas", "main", "JSON Schema of profiles, templates, budgets or results"),
    "doctor": ("doctor", "main", "what this machine offers, what follows, how to mend it"),
    "agent": ("agent", "main", "stay on and answer Prometheus: /metrics, /healthz, /readyz"),
    "selftest": ("selftest", "main", "known workloads on this machine: pass or fail"),
}


def parse(argv: list[str]) -> argparse.Namespace:
    """Parses a command line; what follows `--` becomes `command`, a list of words.

    Exits with 2 on words that are not understood.
    """
    # argparse would take the command's own options for ours.
    own, command = _split(argv)
    parser, verbs = parsers()
    if hint := usage.instead(own, verbs):
        parser.refuse(hint)
    arguments, left = parser.parse_known_args(own)
    if left:
        verb = arguments.verb
        verbs[verb].refuse(usage.stray(verb, own, left, verbs[verb].options))
    arguments.command = command
    arguments.given = frozenset(vars(arguments).get("given", ()))
    return arguments


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The words before the first '--', and those after it: the traced command, untouched."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def parsers() -> tuple[usage.Parser, dict[str, usage.Parser]]:
    """The parser of the whole line, and each sub-command's by its name."""
    parser = usage.Parser(
        prog="mmaplock-bt",
        description="Who held mmap_lock, how long, with which stack, and who waited.",
        end=lambda: f"{usage.examples(*usage.MAIN)}\n\n{EXIT_CODES}",
    )
    parser.add_argument("--version", action="version", version=f"mmaplock-bt {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    made = {
        name: verbs.add_parser(
            name, help=text, description=text, end=functools.partial(usage.of_verb, name)
        )
        for name, (_, _, text) in COMMANDS.items()
    }
    made["run"].usage = "mmaplock-bt run [PROFILE] [options] [-- COMMAND...]"
    for name in (*TRACERS, "show", "script"):
        has_default = name in TRACERS
        made[name].add_argument(
            "profile",
            metavar="PROFILE",
            nargs="?" if has_default else None,
            help="a name, or a path like ./x.yaml" + (" (overview)" if has_default else ""),
        )
    for name in (*TRACERS, "script"):
        _add_selection(made[name])
    for name in (*TRACERS, "gate", "compare", "report"):
        _add_rendering(made[name], "gates" if name == "gate" else "table", keeps_runs=name == "run")
    _add_merging(made["merge"])
    for name in (*TRACERS, "gate", "compare", "report", "merge", "doctor"):
        _add_color(made[name])
    for name in (*TRACERS, "report"):
        more = "-v: tables, books and cost, too; -vv: histograms, too"
        made[name].add_argument("-v", "--verbose", action="count", default=0, help=more)
    for name in ("run", "gate"):
        _add_gates(made[name])
    _add_repeat(made["run"])
    _add_comparison(made["compare"])
    _add_windows(made["run"], made["top"])
    _add_of_a_run(made["run"])
    _add_trap(made["run"])
    made["agent"].add_argument(
        "config", metavar="CONFIG", nargs="?", help="a YAML file (none: what it takes by default)"
    )
    made["agent"].add_argument(
        "--listen", metavar="ADDRESS:PORT", help="where it answers (127.0.0.1:9435)"
    )
    for name in ("selftest", "doctor", "agent"):
        another = "another bpftrace binary"
        made[name].add_argument(
            "--bpftrace", default=default_bpftrace(), metavar="PATH", help=another
        )
    for name in ("selftest", "doctor", "list", "show", "check", "merge"):
        made[name].add_argument("--json", action="store_true", help="for programs")
    by = "bpftrace, or tracefs alone: the profiles that it serves, and which it does not"
    made["selftest"].add_argument(
        "--engine", choices=("bpftrace", "tracefs"), default="bpftrace", help=by
    )
    made["doctor"].add_argument("--fresh", action="store_true", help="try bpftrace again")
    made["check"].add_argument("file", metavar="FILE", help="a profile, by path or by name")
    _add_given(made["check"])
    for name in ("report", "gate"):
        made[name].add_argument(
            "result", metavar="RESULT",
            help="a result file, a raw stream, a folder of runs, or - for standard input",
        )  # fmt: skip
    made["explain"].add_argument(
        "name", metavar="CAUSE|TERM", nargs="*", help="like smaps, 'page fault' or downgrade (all)"
    )
    made["explain"].add_argument("--json", action="store_true", help="for machines")
    made["schema"].add_argument(
        "what", choices=("profile", "template", "budget", "result"), help="of which file"
    )
    return parser, made


def _add_window(parser: argparse.ArgumentParser) -> None:
    length = "length of the window, like 10s or 500ms"
    parser.add_argument("-d", "--duration", metavar="TIME", help=length)
    parser.add_argument(
        "--max-overhead", metavar="SHARE",
        help="share of the machine's CPU time, like 2%%: looks for a second what tracing costs, "
        "then traces, follows a sample, or refuses",
    )  # fmt: skip
    parser.add_argument(
        "--user", metavar="NAME",
        help="under root: whose the COMMAND and all files are (the user behind sudo; or root)",
    )  # fmt: skip


def _add_windows(run: usage.Parser, top: usage.Parser) -> None:
    _add_window(run)
    _add_window(top)
    top.description = f"{top.description}\n\n{KEYS}"
    run.add_argument(
        "--live", action="store_true",
        help="meanwhile: findings so far, rates, open waits and holds, loss; lines off a terminal",
    )  # fmt: skip
    for parser, text in ((run, "with --live: how often (1s)"), (top, "how often it looks (1s)")):
        parser.add_argument("--refresh", default="1s", metavar="TIME", help=text)


def _add_of_a_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    kept = "keep bpftrace's stream; `report FILE` analyses it again"
    add("--save-raw", metavar="FILE", help=kept)
    every = "with a COMMAND: trace every process, not its tree"
    add("--system-wide", action="store_true", help=every)
    ready = "write a line there when the window is open"
    add("--ready-fd", type=_whole, metavar="FD", help=ready)
    sudo = "only bpftrace becomes root, by sudo; all else is yours"
    add("--sudo", action="store_true", help=sudo)
    add("-q", "--quiet", action="store_true", help="no countdown")
    engine = "bpftrace, or tracefs alone: no BPF, fewer profiles (auto: what works)"
    add("--engine", choices=("auto", "bpftrace", "tracefs"), default="auto", help=engine)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    title = "what is traced"
    group = parser.add_argument_group(title, "A filter may be repeated: any of those is meant.")
    add = group.add_argument
    for names, metavar, text in FILTERS:
        kind = _whole if metavar == "PID" else str
        add(*names, action="append", type=kind, metavar=metavar, help=text)
    add("--descendants", action="store_true", help="with -p or --actor-pid: its descendants too")
    add("--mode", choices=("read", "write"), help="only locks that are taken in this way")
    followed = "follow every lock, or for next to nothing only those that somebody waits for"
    add("--locks", choices=("all", "contended"), help=followed)
    add("--sample", metavar="1/N", help="follow one lock in N; counts and sums become estimates")
    add("--set", action="append", metavar="NAME=VALUE", help="a parameter, like threshold=5ms")
    add("--bpftrace", default=default_bpftrace(), metavar="PATH", help="another bpftrace binary")


def _add_trap(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the trap, for what happens once a week")
    group.add_argument(
        "--trap", "--trigger", action="append", metavar="LIMIT",
        help="stay armed with a cheap script; at 'hold > TIME' or 'wait > TIME' capture PROFILE",
    )  # fmt: skip
    for name, default, metavar, text in (
        ("--capture", "10s", "TIME", "length of a capture"),
        ("--captures", 5, "N", "end after so many"),
        ("--max-disk", "256MiB", "SIZE", "end when the captures take so much"),
        ("--keep", 200, "N", "holds and waits before it that are kept"),
        ("--trap-dir", "mmaplock-bt-captures", "DIR", "where each capture gets a folder"),
    ):
        kind = _whole if isinstance(default, int) else str
        described = f"{text} ({default})"
        group.add_argument(name, default=default, type=kind, metavar=metavar, help=described)


def _add_gates(parser: argparse.ArgumentParser) -> None:
    group = _add_given(parser)
    group.add_argument("--judge", choices=JUDGES, default="median", help="of several runs (median)")


def _add_given(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("gates", GATES)
    add = group.add_argument
    add("--gate", action="append", default=[], metavar="EXPR", help="may be repeated")
    add("--budget", action="append", default=[], metavar="FILE", help="a YAML file with `gates:`")
    least = "samples that every --gate wants (1)"
    add("--min-samples", type=_positive, default=1, metavar="N", help=least)
    return group


def _add_repeat(parser: argparse.ArgumentParser) -> None:
    kept = "run it N times; each result is kept, in -o DIR/ or mmaplock-bt-runs/TIME/"
    parser.add_argument("--repeat", type=_whole, default=1, metavar="N", help=kept)
    added = "with -o DIR/: add to the runs that are there"
    parser.add_argument("--add", action="store_true", help=added)


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for name in ("base", "new"):
        add(name, metavar=name.upper(), help="a result file, a folder of repeated runs, or -")
    add(
        "--fail-on",
        action="append",
        default=[],
        metavar="METRIC:TOLERANCE",
        help="exit 1 when it is exceeded, like 'hold.p99:+10%%' or 'hold.sum:+10%% and +100us'",
    )
    smaller = "smaller changes are not shown (+10%% and +1us)"
    add("--tolerance", default="+10% and +1us", metavar="TOLERANCE", help=smaller)
    add("--alpha", type=float, default=0.05, metavar="P", help="how often chance may win (0.05)")
    add("--min-runs", type=_positive, default=6, metavar="N", help="of each series (6)")
    add("--allow-different", action="store_true", help="compare what is not comparable")


def _add_merging(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    where = "result files below it; host=NAME in a path names the host, else the file's folder"
    add("folders", metavar="DIR", nargs="+", help=where)
    ranked = "hosts by: share of time waited, longest wait, longest hold, what was lost (waited)"
    add("--rank", choices=RANKS, default="waited", help=ranked)
    written = "also write FILE: .parquet (a row for each window), .json or .txt; may be repeated"
    add("-o", "--output", action="append", default=[], metavar="FILE", help=written)
    add("--force", action="store_true", help="write over files that are there")
    add("-v", "--verbose", action="count", default=0, help="all hosts, each with its histograms")


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return number


def _whole(text: str) -> int:
    """As int(), but Python's takes the digits of every script, and '1_000'."""
    from mmaplock_bt.units import parse_whole  # noqa: PLC0415  (--help needs none)

    try:
        return parse_whole(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_rendering(parser: argparse.ArgumentParser, shown: str, *, keeps_runs: bool) -> None:
    folder = "keeps each run's result" if keeps_runs else "gets the page as several files"
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="also write FILE; its suffix, or a format's name and ':' before it, chooses the "
        f"format; - is stdout; DIR/ {folder}; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    parser.add_argument(
        "--format", choices=(*FORMATS, "none"), default=shown, metavar="NAME",
        help=f"on stdout: {', '.join((*FORMATS, 'none'))} ({shown})",
    )  # fmt: skip


def _add_color(parser: argparse.ArgumentParser) -> None:
    told = "auto: on a terminal; NO_COLOR and FORCE_COLOR are heard (auto)"
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help=told)


def default_bpftrace() -> str:
    """Returns the bpftrace to run: $MMAPLOCK_BPFTRACE, else the one on PATH."""
    return os.environ.get(BPFTRACE, "bpftrace")
