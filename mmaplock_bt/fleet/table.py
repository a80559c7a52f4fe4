"""The table of windows, in DuckDB's memory: it reaches no file and no network."""

import os
from typing import Any

from mmaplock_bt.errors import UsageError
from mmaplock_bt.fleet.windows import COLUMNS, Row

MEMORY = "1GB"
_SAFE = {
    "memory_limit": MEMORY, "threads": 2, "temp_directory": "",
    "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    "python_enable_replacements": False,
}  # fmt: skip


class Table:
    """A row for each window. Raises UsageError without duckdb, and where its memory is full."""

    def __init__(self) -> None:
        self._duckdb = _duckdb()
        self._parquet = os.memfd_create("mmaplock-bt-merge", os.MFD_CLOEXEC)
        self._path = f"/proc/self/fd/{self._parquet}"
        self._open = self._duckdb.connect(":memory:", config=_SAFE)
        self.ask(f"SET allowed_paths = ['{self._path}']")
        self.ask("SET enable_external_access = false")
        self.ask("SET lock_configuration = true")
        self.ask(f"CREATE TABLE windows ({', '.join(map(' '.join, COLUMNS.items()))})")

    def add(self, row: Row) -> None:
        """Adds a window."""
        marks = ", ".join("?" * len(COLUMNS))
        self.ask(f"INSERT INTO windows VALUES ({marks})", [row[name] for name in COLUMNS])

    def ask(self, sql: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        """Returns the rows that a query finds."""
        try:
            done = self._open.execute(sql, values or [])
            names = [column[0] for column in done.description or ()]
            return [dict(zip(names, row, strict=True)) for row in done.fetchall()]
        except (self._duckdb.OutOfMemoryException, MemoryError) as error:
            raise UsageError(
                f"these files take more than {MEMORY} of memory: merge parts of them"
            ) from error

    def parquet(self) -> bytes:
        """Returns the table as a Parquet file, the windows in order."""
        os.ftruncate(self._parquet, 0)
        self.ask(
            f"COPY (FROM windows ORDER BY host, start, file) TO '{self._path}' "
            "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        )
        with open(self._path, "rb") as file:  # noqa: PTH123
            return file.read()

    def close(self) -> None:
        """Frees what it holds."""
        self._open.close()
        os.close(self._parquet)


def _duckdb() -> Any:
    try:
        import duckdb  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "merge needs duckdb: install mmaplock-bt[merge], or duckdb itself"
        ) from error
    return duckdb
