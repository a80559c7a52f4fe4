"""DuckDB within its bounds: no file, no network, no further setting, no more than its memory."""

import duckdb
import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.fleet import table, windows
from mmaplock_bt.fleet.table import Table
from tests.unit.fleet.fleets import window


@pytest.fixture
def made():
    found = Table()
    yield found
    found.close()


FORBIDDEN = (
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM 'https://example.com/x.parquet'",
    "COPY windows TO '/tmp/x.parquet' (FORMAT parquet)",
    "ATTACH '/tmp/x.db'",
    "SET memory_limit = '64GB'",
    "SET enable_external_access = true",
    "INSTALL httpfs",
)


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_it_reaches_nothing(made, sql):
    with pytest.raises(duckdb.Error):
        made.ask(sql)


def test_its_memory_is_bounded(monkeypatch):
    monkeypatch.setitem(table._SAFE, "memory_limit", "8MB")
    small = Table()
    row = windows.row(window(hold={"read": list(range(2000))}), "h", "f")
    row["histograms"][0]["buckets"] *= 100
    with pytest.raises(UsageError, match="take more than"):
        for _ in range(200):
            small.add(row)
    small.close()


def test_parquet_is_the_table_again(made, tmp_path):
    rows = [windows.row(window(hold={"read": [5, 7]}), host, "f") for host in ("b", "a")]
    for row in rows:
        made.add(row)
    first = made.parquet()
    assert made.parquet() == first, "the same windows make the same file"
    (tmp_path / "x.parquet").write_bytes(first)
    read = duckdb.sql(f"FROM '{tmp_path}/x.parquet'")
    assert (
        dict(zip(read.columns, map(str, read.types), strict=True)).keys() == windows.COLUMNS.keys()
    )
    assert [dict(zip(read.columns, row, strict=True)) for row in read.fetchall()] == rows[::-1]
