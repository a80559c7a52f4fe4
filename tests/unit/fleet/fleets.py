"""Windows of several hosts whose figures are known, and their files."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmaplock_bt.fleet import windows
from mmaplock_bt.fleet.merged import Fleet, merge
from mmaplock_bt.fleet.table import Table
from mmaplock_bt.result.model import Result
from mmaplock_bt.result.saved import to_json
from tests.builders import Made, histogram_of, made

SECOND = 10**9
FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
Charges = Mapping[tuple[str, str, str], Sequence[int]]  # (victim, culprit, cause): ns
Rest = Mapping[tuple[str, str], Sequence[int]]  # (victim, charged): ns
_TABLE = {"kind": "table", "unit": "ns", "of": "charges", "value": "charged_ns"}


def _rows(found: Mapping[tuple[str, ...], Sequence[int]], *keys: str) -> list[dict[str, Any]]:
    return [
        {"key": dict(zip(keys, key, strict=True)), "count": len(ns), "sum": sum(ns), "max": max(ns)}
        for key, ns in found.items()
    ]


def window(
    *,
    hold: Mapping[str, Sequence[int]] | None = None,
    wait: Mapping[str, Sequence[int]] | None = None,
    charges: Charges | None = None,
    rest: Rest | None = None,
    second: int = 0,
    seconds: int = 1,
    locks: str = "all",
    **loss: object,
) -> Result:
    """A window that begins at a second, with these holds and waits by mode, and charges."""
    outputs: Made = {}
    for name, values in (("hold", hold), ("wait", wait)):
        rows = [histogram_of({"mode": mode}, list(ns)) for mode, ns in (values or {}).items()]
        outputs[name] = ({"kind": "histogram", "unit": "ns", "keys": ["mode"]}, rows)
    if charges is not None:
        told = {(*key, "charged"): ns for key, ns in charges.items()}
        keys = ("victim", "culprit", "cause", "charged")
        outputs["culprits"] = (_TABLE | {"keys": list(keys)}, _rows(told, *keys))
        whole = {(f"{victim}", "charged"): ns for (victim, *_), ns in charges.items()}
        keys = ("victim", "charged")
        outputs["rest"] = (_TABLE | {"keys": list(keys)}, _rows({**whole, **(rest or {})}, *keys))
    base = made(outputs)
    return replace(
        base,
        profile=replace(base.profile, locks=locks),
        window=replace(
            base.window,
            start=(FIRST + datetime.timedelta(seconds=second)).isoformat(),
            duration_ns=seconds * SECOND,
        ),
        loss=replace(base.loss, **({"complete": not loss} | loss)),
    )


# Sums are primes, or products of primes, so that none is another's by chance.
FLEET = {
    "web1": [
        window(
            hold={"read": [1_009] * 97, "write": [7_919] * 3}, wait={"write": [2_000_003, 101]},
            charges={
                ("mysqld", "agent", "smaps"): [1_000_003, 11], ("cron", "cron", "munmap"): [13]
            },
            rest={("mysqld", "waited for a CPU"): [1_000_000], ("mysqld", "met nobody"): [17]},
        ),
        window(hold={"read": [1_013] * 2}, second=10, seconds=2, lost_events=23, map_full=5),
    ],
    "web2": [
        window(
            hold={"read": [104_729] * 5}, wait={"write": [503]},
            charges={("mysqld", "agent", "smaps"): [499], ("nginx", "agent", "smaps"): [4]},
        )
    ],
    "db1": [window(hold={"write": [15_485_863]}, wait={"read": [19, 19, 19]}, lost_events=2)],
}  # fmt: skip


def saved(folder: Path, fleet: Mapping[str, Sequence[Result]] = FLEET) -> Path:
    """Writes runs/host=NAME/N.json below a folder and returns runs/."""
    for host, results in fleet.items():
        place = folder / "runs" / f"host={host}"
        place.mkdir(parents=True)
        for number, result in enumerate(results):
            (place / f"{number}.json").write_text(to_json(result))
    return folder / "runs"


def merged(fleet: Mapping[str, Sequence[Result]] = FLEET, rank: str = "waited") -> Fleet:
    """What windows of these hosts say together."""
    table = Table()
    try:
        for host, results in fleet.items():
            for number, result in enumerate(results):
                table.add(windows.row(result, host, f"{host}/{number}.json"))
        return merge(table, rank)
    finally:
        table.close()
