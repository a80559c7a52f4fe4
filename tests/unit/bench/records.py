"""Builds records of the bench."""

from bench.contenders import BASE
from bench.record import Record, Row, Sample, Turn
from bench.scenarios import MAIN

BESIDE_NS = 200.0


def sample(relative: float) -> Sample:
    return Sample(batches=30, ns=relative * BESIDE_NS, beside_ns=BESIDE_NS, relative=relative)


def turn(
    name: str, number: int, traced: float, *noise: str, untraced: float = 3.0, unrest: float = 0.0
) -> Turn:
    """`traced` and `untraced` are relative: in system calls without a lock, 200 ns each."""
    return Turn(round=number, name=name, untraced={MAIN: sample(untraced)},
                traced={MAIN: sample(traced)}, noise=noise, unrest=unrest)  # fmt: skip


def record(*turns: Turn, rows: tuple[Row, ...] = (), **refusals: str) -> Record:
    names = dict.fromkeys([*(one.name for one in turns), *refusals])
    return Record(
        environment={"kernel": "Linux 6.18 x86_64"}, quick=True, scenarios=(MAIN,),
        rows=rows or tuple(Row(name=name, what=name, by="") for name in names),
        turns=turns, refusals=refusals,
    )  # fmt: skip


def usual() -> Record:
    """Two rounds of nothing, the C peer (twice as dear) and ours (three times the peer)."""
    return record(
        *(turn("nothing", number, 3.0) for number in (1, 2)),
        *(turn(BASE, number, 5.0) for number in (1, 2)),
        *(turn("mmaplock-bt blame", number, 9.0) for number in (1, 2)),
    )
