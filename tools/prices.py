"""What tracing costs a lock, against what else there is: `make bench`, `make bench-check`.

python tools/prices.py run [--quick] [--rounds N] [--only PATTERN]   measures; writes bench/results
python tools/prices.py show [FILE]      writes table, plot and the README's section again
python tools/prices.py check [PEER...]  the peers' counts and sums must equal ours
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import roots

from bench import checks, plot, readme, table
from bench.contenders import BASE, OURS, Contender, contenders
from bench.figures import figures
from bench.record import Record, Row, UnreadableError, load, save, text
from bench.rounds import Bench
from bench.scenarios import MAIN, SCENARIOS
from bench.tracer import Places
from bench.workshop import PRODUCTS, MissingError, Workshop
from mmaplock_bt import resources
from mmaplock_bt.machine import cgroups

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "bench/results"
README = REPOSITORY / "README.md"
SUITES = ("trixie", "sid")  # whose bpftraces are measured beside the machine's own
PEERS = tuple(name for name in PRODUCTS if name != "victim")
ROUNDS, QUICK_ROUNDS = 5, 3
# What the README shows of ours; bench/results has the rest.
SHOWN = ("hold-times", "blame", "overview", "armed trap")


def main() -> int:
    arguments = _parser().parse_args()
    commands = {"run": _run, "show": _show, "check": _check}
    try:
        return commands[arguments.command](arguments)
    except (MissingError, UnreadableError, readme.NoPlaceError) as error:
        print(f"prices: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("prices: interrupted: nothing is written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure")
    run.add_argument("--quick", action="store_true", help="few contenders, about two minutes")
    run.add_argument("--few", action="store_true", help="the quick bench's scenarios only")
    run.add_argument("--rounds", type=_number, metavar="N")
    run.add_argument("--patience", type=_number, metavar="N", help="tries of a noisy turn")
    run.add_argument(
        "--only", metavar="PATTERN", help="contenders whose names it matches, and the C peer"
    )
    show = commands.add_parser("show", help="write table, plot and README again")
    show.add_argument("file", nargs="?", type=Path)
    check = commands.add_parser("check", help="peers must count what we count")
    check.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}")
    return parser


def _number(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,2}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 to 999")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    record = _measured(arguments)
    if arguments.only:  # part of a run is no result
        print(table.scenario_table(figures(record), record.scenarios))
        return 0
    path = RESULTS / ("quick.json" if arguments.quick else "full.json")
    save(path, text(record))
    return _written(record, path)


def _measured(arguments: argparse.Namespace) -> Record:
    with _workshop(*PEERS) as shop, _idle_cgroup() as cgroup:
        bpftraces = _bpftraces(quick=arguments.quick)
        profiles = resources.shipped_names("profiles", ".yaml")
        chosen = _chosen(arguments, contenders(profiles, bpftraces))
        few = arguments.quick or arguments.few
        scenarios = [one for one in SCENARIOS if one.quick or not few]
        bench = Bench(scenarios, _places(shop, bpftraces, cgroup), shop.missing, _say)
        bench.patience = arguments.patience or (2 if arguments.quick else 3)
        rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
        bench.run(chosen, rounds)
    return Record(
        environment=_environment(bpftraces), quick=arguments.quick,
        scenarios=tuple(one.name for one in scenarios),
        rows=tuple(Row(name=one.name, what=one.what, by=one.by) for one in chosen),
        turns=tuple(bench.turns), refusals=bench.refusals,
    )  # fmt: skip


def _chosen(arguments: argparse.Namespace, known: list[Contender]) -> list[Contender]:
    """--only also takes what the quick bench leaves out."""
    if arguments.only:
        return [one for one in known if one.what == BASE or re.search(arguments.only, one.name)]
    return [one for one in known if one.quick or not arguments.quick]


def _show(arguments: argparse.Namespace) -> int:
    path = arguments.file or _newest()
    return _written(load(path), path)


def _newest() -> Path:
    """The full result, where there is one."""
    full, quick = RESULTS / "full.json", RESULTS / "quick.json"
    return full if full.exists() or not quick.exists() else quick


def _written(record: Record, path: Path) -> int:
    """Table and plot beside the file; the README's section where it is the one to show."""
    told = table.lines(figures(record), MAIN)
    save(path.with_suffix(".md"), table.report(record, path.with_suffix(".svg").name))
    caption = f"Uncontended read lock, {record.environment.get('kernel', '')}; logarithmic"
    save(path.with_suffix(".svg"), plot.picture(told, BASE, caption))
    if path == _newest():
        save(README, readme.placed(README.read_text("utf-8"), _section(record, told, path)))
    print(table.price_table(told))
    return 0


def _section(record: Record, told: list[table.Line], path: Path) -> str:
    shown = [line for line in told if not line.what.startswith(OURS) or _is_shown(line.what)]
    beside = path.relative_to(REPOSITORY)
    links = f"[All figures]({beside.with_suffix('.md')}), [plot]({beside.with_suffix('.svg')})."
    return f"{table.price_table(shown)}\n\n{table.legend(record)}\n{links}"


def _is_shown(what: str) -> bool:
    filtered = ("another's", "nobody")
    return any(name in what for name in SHOWN) and not any(word in what for word in filtered)


def _check(arguments: argparse.Namespace) -> int:
    """Exit 1 where a peer counts otherwise; one that is missing is told, and no failure."""
    names = arguments.peers or PEERS
    if unknown := set(names) - set(PEERS):
        print(f"prices: no such peer: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    with _workshop(*names) as shop:
        bpftraces = _bpftraces(quick=True)
        places = _places(shop, bpftraces, "/")
        found = [checks.check(name, places, shop.missing, next(iter(bpftraces))) for name in names]
    for one in found:
        print(json.dumps(asdict(one)))
        print(f"{one.peer}: {_verdict(one)}", file=sys.stderr)
    return 1 if any(one.differences for one in found) else 0


def _verdict(one: checks.Check) -> str:
    return one.refusal or "; ".join(one.differences) or "counts and sums equal ours"


@contextmanager
def _workshop(*peers: str) -> Iterator[Workshop]:
    """In /tmp, which the roots of other suites share; closed to others. Raises MissingError."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        shop = Workshop(Path(folder), headers=_headers)
        shop.build("victim", *peers)
        if "victim" in shop.missing:
            raise MissingError(shop.missing["victim"])
        yield shop


def _headers() -> Path | None:
    """A root with Debian's headers: any near kernel's do for BCC."""
    if not shutil.which("mmdebstrap"):
        return None
    try:
        return roots.headers("bookworm")
    except (OSError, subprocess.SubprocessError, SystemExit):
        return None


def _bpftraces(*, quick: bool) -> dict[str, str]:
    """Programs by version; the machine's own first, then, unless it is quick, the suites'."""
    programs = [shutil.which("bpftrace") or "bpftrace"]
    programs += [] if quick else filter(None, map(_of_suite, SUITES))
    return {_version(program): program for program in programs}


def _of_suite(suite: str) -> str | None:
    """None, and a sentence, where there is no root to be had."""
    try:
        return str(roots.bpftrace(suite))
    except (OSError, subprocess.SubprocessError, SystemExit) as error:
        _say(f"no bpftrace of {suite}: {error}")
        return None


def _version(program: str) -> str:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MissingError("bpftrace is not installed") from None
    found = re.search(r"v(\d+\.\d+)", told.stdout)
    if found is None:
        raise MissingError(f"{program} --version tells no version")
    return found[1]


def _places(shop: Workshop, bpftraces: dict[str, str], cgroup: str) -> Places:
    programs = {f"bpftrace:{version}": (program,) for version, program in bpftraces.items()}
    own = {"python": (sys.executable,), "idle_pid": (str(os.getpid()),), "idle_cgroup": (cgroup,)}
    return {**programs, **own, **shop.argv}


@contextmanager
def _idle_cgroup() -> Iterator[str]:
    """A memory cgroup in which nobody is; '/' where there is no hierarchy."""
    root = cgroups.hierarchy()
    if root is None:
        yield "/"
        return
    folder = root / f"mmaplock-bt-bench-{os.getpid()}"
    folder.mkdir()
    try:
        yield f"/{folder.name}"
    finally:
        folder.rmdir()


def _environment(bpftraces: dict[str, str]) -> dict[str, str]:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "kernel": f"Linux {platform.release().partition('-')[0]} {platform.machine()}",
        "cpu": f"{os.cpu_count()} x {model[1] if model else 'unknown'}",
        "bpftrace": ", ".join(bpftraces),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
