"""Many rows with one statement, which runs without the interpreter's lock.

`executemany` takes that lock again for each row, and waits for it 5 ms every time while the observed program is busy:
thousands of rows would take minutes. Binding parameters needs the lock too, so what is the same in all rows of a
statement is bound once, and what is in none of them not at all.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, count, islice
from typing import Any, Final

from sqlalchemy import Connection, Dialect

_CHUNKS: Final = (256, 16, 1)  # rows per statement


class BulkInsert:
    """Inserts rows of one table, each a tuple in the order of the columns."""

    def __init__(self, table: str, columns: Sequence[str], dialect: Dialect) -> None:
        self._table = table
        self._columns = tuple(columns)
        self._is_positional = dialect.positional

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """The rows are in the table."""
        start = 0
        for size in _CHUNKS:
            while len(rows) - start >= size:
                self._insert(connection, rows[start : start + size])
                start += size

    def _insert(self, connection: Connection, chunk: Sequence[tuple[Any, ...]]) -> None:
        size = len(chunk)
        columns = list(zip(self._columns, zip(*chunk, strict=True), strict=True))
        told = [(name, values) for name, values in columns if values.count(None) < size]
        same = [(name, values) for name, values in told if values.count(values[0]) == size > 1]
        if len(same) == len(told):
            same.pop()  # something has to make the rows: rows of nothing are no statement
        own = [column for column in told if column not in same]
        parameters = chain(
            (values[0] for _, values in same),
            chain.from_iterable(zip(*(values for _, values in own), strict=True)),
        )
        statement = _statement(
            self._table,
            tuple(name for name, _ in same),
            tuple(name for name, _ in own),
            size,
            self._is_positional,
        )
        connection.exec_driver_sql(
            statement, tuple(parameters) if self._is_positional else _by_name(parameters)
        )


@lru_cache(maxsize=64)
def _statement(
    table: str, same: tuple[str, ...], own: tuple[str, ...], size: int, is_positional: bool
) -> str:
    """An insert made by hand: parameters for the columns that are the same in all rows, then row by row the others."""
    if is_positional:
        row = f"({', '.join('?' * len(own))})"
        selected = ", ".join(["?"] * len(same) + [f"column{place + 1}" for place in range(len(own))])
        what = f"SELECT {selected} FROM (VALUES {', '.join([row] * size)})"  # noqa: S608
    else:
        # Named, a parameter can stand in every row, and the server takes its type from the column.
        shared = [f"%(p{place})s" for place in range(len(same))]
        names = (f"%(p{place})s" for place in count(len(same)))
        what = "VALUES " + ", ".join(
            f"({', '.join([*shared, *islice(names, len(own))])})" for _ in range(size)
        )
    # Table, columns and place holders are our own; nothing from outside is in the statement.
    return f"INSERT INTO {table} ({', '.join((*same, *own))}) {what}"


def _by_name(values: Iterable[Any]) -> dict[str, Any]:
    return {f"p{place}": value for place, value in enumerate(values)}
