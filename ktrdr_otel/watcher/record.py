"""What the watcher writes: the operations of its process, in the store, by statements that the store has given it.

Standard library only for SQLite; psycopg where the store is PostgreSQL.
"""

import importlib
import json
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr_otel.watcher.place import Place

_BUSY_SECONDS = 5.0


class Record:
    """A store, by its URL and the statements that concern one process's operations. Each call is one transaction."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._statements: dict[str, Sequence[str]] = dict(config["statements"])
        self._reading: Sequence[str] = config["reading"]
        self._database: str = config["database"]
        self._is_postgresql: bool = config["is_postgresql"]
        self._mine = {"pid": config["pid"], "ticks": config["started_ticks"], "boot": config["boot_id"]}
        self._connection: Any = None
        if self._is_postgresql:
            sys.path.extend(config["site_packages"])

    def running(self) -> list[str]:
        """The operations of the process that run, by id."""
        return [row[0] for row in self._do("running")]

    def flags(self) -> list[tuple[bool, bool, str | None]]:
        """Whether it is stalled, whether suspended, and the stall, of each of those of which somebody has said so."""
        return [(bool(stalled), bool(suspended), stall) for stalled, suspended, stall in self._do("flags")]

    def beat(self, *, late_monotonic_ns: int) -> None:
        """The process is there, whether or not its own thread can say so."""
        now = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._do("beat", **now, late_monotonic_ns=late_monotonic_ns)

    def stalled(self, operation_id: str, stall: str) -> None:
        """The operation stands still."""
        self._do("stalled", operation_id=operation_id, stall=stall)

    def goes_on(self, operation_id: str, stall: str) -> None:
        """The operation has just moved, also if it has not stored that itself yet; the stall stays in its record."""
        now = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._do("goes_on", operation_id=operation_id, stall=stall, **now)

    def place(self, operation_id: str) -> Place | None:
        """Where the operation is, by its record; None when it does not run any more."""
        rows = self._do("place", operation_id=operation_id)
        return Place(rows[0][0], json.loads(rows[0][1])) if rows else None

    def is_in(self, operation_id: str, place: Place) -> None:
        """The operation is there now; what it stores of itself when it goes on is newer."""
        self._do("is_in", operation_id=operation_id, message=place.message, context=json.dumps(place.context))

    def suspended(self, operation_id: str) -> None:
        """The process was stopped by a signal."""
        self._do("suspended", operation_id=operation_id)

    def resumed(self, operation_id: str, *, since_ns: int, now_ns: int) -> None:
        """It runs again, and the time between, on the monotonic clock, is no silence of the operation's."""
        stopped_ns = max(now_ns - since_ns, 0)
        self._do("resumed", operation_id=operation_id, since_ns=since_ns, stopped_ns=stopped_ns)

    def sample(
        self, operation_id: str, *, at_ns: int, cpu_share: float, rss_bytes: int, limit_bytes: int | None
    ) -> None:
        """What the process used at that moment."""
        self._do(
            "sample",
            operation_id=operation_id,
            at_ns=at_ns,
            cpu_share=cpu_share,
            rss_bytes=rss_bytes,
            limit_bytes=limit_bytes,
        )

    def lost(self, operation_id: str, reason: str, *, ended_ns: int) -> None:
        """The operation is lost, and what was open in it with it, if nobody has said otherwise before."""
        self._do("lost", operation_id=operation_id, reason=reason, ended_ns=ended_ns)

    def close(self) -> None:
        """Nothing is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _do(self, name: str, **values: Any) -> list[Any]:
        given = {**self._mine, **values}
        connection = self._connected()
        try:
            if not self._is_postgresql:
                connection.execute("BEGIN" if name in self._reading else "BEGIN IMMEDIATE")
            rows: list[Any] = []
            for statement in self._statements[name]:
                cursor = connection.execute(statement, given)
                if cursor.description is not None:
                    rows = cursor.fetchall()
            connection.commit()
        except BaseException:
            self._forget()
            raise
        return rows

    def _connected(self) -> Any:
        if self._connection is None:
            if self._is_postgresql:
                self._connection = importlib.import_module("psycopg").connect(self._database)
            else:
                self._connection = sqlite3.connect(
                    self._database, isolation_level=None, timeout=_BUSY_SECONDS
                )
        return self._connection

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception:  # the connection is broken: that is why it is closed
                return
