"""Hears that somebody, in this process or another, has written to the store."""

import select
import sqlite3
import threading
import time
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.storage.engine import CHANNEL, Database

_LOOK_SECONDS: Final = 0.1  # between two looks at SQLite's change counter, which costs 2 µs


class SqliteChanges:
    """SQLite counts the transactions of every other connection to the file: `PRAGMA data_version`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        self._closed = threading.Event()

    def wait(self, timeout_seconds: float) -> bool:
        """Whether something has been written since the last call; True at the first."""
        deadline = time.monotonic() + timeout_seconds
        while not self._closed.is_set():
            version = self._look()
            if version != self._version:
                self._version = version
                return True
            if time.monotonic() >= deadline:
                return False
            self._closed.wait(_LOOK_SECONDS)
        return False

    def close(self) -> None:
        """Whoever waits returns; the connection is closed by the last look."""
        self._closed.set()

    def forget(self) -> None:
        """The connection is closed; called by the thread that waited."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> int:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._database.path, isolation_level=None)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            self._connection = None
            raise StoreUnavailableError(self._database.name, str(error)) from error


class MemoryChanges:
    """A memory database has one connection, which sees no version of its own: every look finds something."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def wait(self, timeout_seconds: float) -> bool:
        """True, after the time between two looks."""
        self._closed.wait(min(_LOOK_SECONDS, timeout_seconds))
        return not self._closed.is_set()

    def close(self) -> None:
        """Whoever waits returns."""
        self._closed.set()

    def forget(self) -> None:
        """There is nothing to close."""


class PostgresChanges:
    """PostgreSQL says it: each of our transactions ends with a NOTIFY."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._closed = threading.Event()

    def wait(self, timeout_seconds: float) -> bool:
        """Whether something has been written since the last call; True at the first, and after an outage."""
        import psycopg

        if self._closed.is_set():
            return False
        try:
            if self._connection is None:
                self._connection = self._listen()
                return True
            # psycopg's own wait cannot be left early: a server that stops should not wait for a second.
            deadline = time.monotonic() + timeout_seconds
            while not self._closed.is_set() and time.monotonic() < deadline:
                readable, _, _ = select.select([self._connection.fileno()], [], [], _LOOK_SECONDS)
                if readable and any(True for _ in self._connection.notifies(timeout=0)):
                    return True
        except (psycopg.Error, SQLAlchemyError, OSError) as error:
            self._connection = None
            lines = str(error).strip().splitlines()
            raise StoreUnavailableError(
                self._database.name, lines[0] if lines else type(error).__name__
            ) from error
        return False

    def close(self) -> None:
        """Whoever waits returns."""
        self._closed.set()

    def forget(self) -> None:
        """The connection is closed; called by the thread that waited."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _listen(self) -> Any:
        import psycopg

        # A connection of its own: one of the pool would go on listening for whoever gets it next.
        arguments, keywords = self._database.engine.dialect.create_connect_args(self._database.engine.url)
        connection = psycopg.connect(*arguments, autocommit=True, **keywords)
        connection.execute(f"LISTEN {CHANNEL}")
        return connection
