"""Names: an event has its thread's, a table made of events the process's."""

from operator import itemgetter

from mmaplock_bt.analysis import analyse
from mmaplock_bt.analysis.naming import Rows
from mmaplock_bt.result.observe import observe
from mmaplock_bt.spec import declaration, gates
from mmaplock_bt.stream.records import Trailer
from tests.builders import declared, escaped, head, printed, shown_as_table, stack_text

WEIGHT = {"name": "weight", "expression": "$w"}
OUTPUTS = declared(
    holds={"kind": "events", "title": "H", "unit": "ns",
           "fields": ["time_ns", "hold_ns", "tid", "pid", "comm", WEIGHT]},
    names={"kind": "table", "title": "N", "unit": "ns", "of": "holds", "value": "hold_ns",
           "keys": ["comm"], "distinct": {"processes": "pid"}, "weight": "weight"},
    threads={"kind": "table", "title": "T", "unit": "ns", "of": "holds", "value": "hold_ns",
             "keys": ["tid", "comm"]},
)  # fmt: skip


def hold(ns, tid, pid, comm, weight=1):
    """In the order in which the script prints: the columns as they are declared."""
    values = {"time_ns": 10**6, "hold_ns": ns, "tid": tid, "pid": pid, "comm": escaped(comm),
              "weight": weight}  # fmt: skip
    return printed("|".join(["holds", *(str(values[c.name]) for c in OUTPUTS["holds"].printed)]))


def name(pid, comm):
    return printed(f"name|{pid}|1|{escaped(comm)}")


def analysed(*lines):
    stream = [head(OUTPUTS).line(), *lines, Trailer("duration", 10**9).line()]
    return analyse.analyse_lines(stream)


def test_threads_of_one_name_are_of_their_processes():
    """Two processes have a thread `worker`; of one that was not told, the thread's name is left."""
    result = analysed(
        name(10, b"mysqld"), hold(2, 11, 10, b"worker"), hold(3, 10, 10, b"mysqld"),
        name(20, b"java"), hold(5, 21, 20, b"worker"), hold(7, 31, 30, b"worker"),
    )  # fmt: skip
    rows = {row["key"]["comm"]: (row["count"], row["sum"]) for row in result.table("names")}
    assert rows == {"mysqld": (2, 5), "java": (1, 5), "worker": (1, 7)}
    assert {row["key"]["comm"] for row in result.table("threads")} == {"worker", "mysqld"}
    assert [row["comm"] for row in result.events("holds")].count("worker") == 3


def test_many_short_processes_of_one_name_are_one_group():
    result = analysed(*(hold(3, pid, pid, b"cat") for pid in range(101, 138)))
    (row,) = result.table("names")
    assert (row["count"], row["processes"]) == (37, 37)


def test_a_row_that_stands_for_others_is_an_estimate_in_tables_and_gates():
    result = analysed(hold(10, 1, 1, b"a", 97), hold(500, 1, 1, b"a"), hold(9, 2, 2, b"b"))
    a, b = sorted(result.table("names"), key=lambda row: row["key"]["comm"])
    assert (a["count"], a["count_error"]) == (98, 193)  # 2 * sqrt(97 * 96), rounded up
    assert "count_error" not in b
    shown = shown_as_table(result)
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "~98 ±193" in lines["a"] and "~1.47 µs ±" in lines["a"] and "~" not in lines["b"]
    seen = observe(gates.metric("names{comm=a}.count", OUTPUTS), result)
    assert (seen.low, seen.figure, seen.high) == (0, 98, 291)
    assert observe(gates.metric("names{comm=b}.count", OUTPUTS), result).high == 1


def event(output, declared_columns, **values):
    """A line of an events output; columns that are not given are 0, or empty."""
    empty = {"text": escaped(b""), "kernel_stack": stack_text(["f+1"]), "hex": "ab"}
    told = (str(values.get(c.name, empty.get(c.type, 0))) for c in declared_columns)
    return printed("|".join([output, *told]))


def test_waiting_is_charged_to_the_process_of_a_thread():
    """An agent's thread `reader` holds the lock of a daemon, whose thread `helper` waits."""
    outputs = declaration.shipped("overview").declaration.outputs
    owner = {"owner_pid": 10, "owner_comm": escaped(b"mydaemon")}
    lines = [
        name(20, b"agent"),
        event("holds", outputs["holds"].printed, time_ns=9 * 10**6, hold_ns=8 * 10**6, tid=21,
              pid=20, comm=escaped(b"reader"), **owner),
        event("waits", outputs["waits"].printed, time_ns=9 * 10**6, wait_ns=5 * 10**6, tid=11,
              pid=10, comm=escaped(b"helper"), **owner),
    ]  # fmt: skip
    stream = [head(outputs).line(), *lines, Trailer("duration", 10**9).line()]
    (row,) = analyse.analyse_lines(stream).table("culprits")
    assert (row["key"]["victim"], row["key"]["culprit"]) == ("mydaemon", "agent")


def test_columns_of_rows_are_what_their_rows_hold():
    """Those that are named already come last, and may lack a column."""
    reads = {"tid": itemgetter(1), "ns": lambda raw: raw[0] + 1}
    rows = Rows([(5, 1), (7, 2)], reads, more=[{"tid": 3}])
    names = ("ns", "other", "tid")
    told = [tuple(map(row.get, names)) for row in rows.rows]
    assert list(rows.columns(names)) == told == [(6, None, 1), (8, None, 2), (None, None, 3)]
