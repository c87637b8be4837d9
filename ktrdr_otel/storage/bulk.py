"""Many rows with one statement, which runs without the interpreter's lock.

`executemany` takes that lock again for each row, and waits for it 5 ms every time while the observed program is busy:
thousands of rows would take minutes.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Dialect

_CHUNKS: Final = (256, 16, 1)  # rows per statement, each prepared once


class BulkInsert:
    """Inserts rows of one table, each a tuple in the order of the columns."""

    def __init__(self, table: str, columns: Sequence[str], dialect: Dialect) -> None:
        self._statements = {count: _statement(table, columns, count, dialect) for count in _CHUNKS}
        self._is_positional = dialect.positional

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """The rows are in the table."""
        start = 0
        for count in _CHUNKS:
            while len(rows) - start >= count:
                flat = tuple(chain.from_iterable(rows[start : start + count]))
                parameters = flat if self._is_positional else _by_name(flat)
                connection.exec_driver_sql(self._statements[count], parameters)
                start += count


def _statement(table: str, columns: Sequence[str], count: int, dialect: Dialect) -> str:
    width = len(columns)
    if dialect.positional:
        row = f"({', '.join('?' * width)})"
        values = ", ".join([row] * count)
    else:
        names = [[f"%(p{line * width + place})s" for place in range(width)] for line in range(count)]
        values = ", ".join(f"({', '.join(line)})" for line in names)
    # Table, columns and place holders are our own; nothing from outside is in the statement.
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608


def _by_name(flat: tuple[Any, ...]) -> dict[str, Any]:
    return {f"p{place}": value for place, value in enumerate(flat)}
