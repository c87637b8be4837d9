"""A database as the store uses it: how it is connected, how transactions begin, how its faults are told."""

import ctypes
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)

from ktrdr_otel.errors import StoreError, StoreUnavailableError
from ktrdr_otel.storage.write_lock import frozen_writer

BUSY_TIMEOUT_SECONDS: Final = 5.0  # how long a statement waits for another process's transaction
CHANNEL: Final = "ktrdr_otel"  # on which PostgreSQL tells that something was written

_BACKENDS: Final = ("sqlite", "postgresql")
_POSSIBLE: Final = "cannot be used; say sqlite:///path, a path, or postgresql://user@host/name"

# PostgreSQL hands out sequence numbers before it commits: two writers at once would let a reader, who goes on from the
# highest that it has seen, miss the rows of the slower one. So writers take turns, as SQLite's do anyway.
# One who stops in the middle of its turn, by a signal say, is thrown out by the server, before the others give up.
BE_BRIEF = text(
    "SELECT set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '10s', true)"
)
TAKE_TURN = text("SELECT pg_advisory_xact_lock(7305148)")
TELL = text(f"SELECT pg_notify('{CHANNEL}', '')")

# A server that does not answer is away: libpq would else wait for it as long as the kernel does, a quarter of an hour
# for what was sent and for ever for an answer. Part of the URL, so that every connection has it, the watcher's too.
_PATIENCE: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "tcp_user_timeout": "10000",  # milliseconds
}

# Faults of what is written rather than of the database: the same write fails again however often it is tried.
_REFUSALS = (IntegrityError, DataError, InterfaceError, ProgrammingError)


class Database:
    """An engine and the ways to use it. Safe for threads; after a fork the child calls `forget_after_fork`."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet. Raises `StoreUnavailableError` for a URL that cannot be used."""
        parsed = _parse(url)
        self.name = name_of(parsed)
        self.is_postgresql = parsed.get_backend_name() == "postgresql"
        if self.is_postgresql:
            parsed = parsed.set(query={**_PATIENCE, **parsed.query})
        self.in_memory = parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")
        self.engine = self._make_engine(parsed)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database."""
        with self._told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction that is committed when the block ends well.

        Committed work survives the death of the process; `durable` work survives a power failure too.
        """
        with self._told(), self.engine.connect() as connection:
            connection.execution_options(ktrdr_otel_writes=True, ktrdr_otel_durable=durable)
            with connection.begin():
                if not self.is_postgresql:
                    yield connection
                    return
                connection.execute(BE_BRIEF)
                connection.execute(TAKE_TURN)
                yield connection
                connection.execute(TELL)

    @property
    def path(self) -> str:
        """The file of a SQLite database."""
        return self.engine.url.database or ":memory:"

    def frozen_writer(self) -> int | None:
        """The process that keeps everybody from writing, because it was stopped by a signal in the middle of it."""
        return None if self.is_postgresql or self.in_memory else frozen_writer(self.path)

    def close(self) -> None:
        """No connection is open; the next use opens new ones."""
        self.engine.dispose()

    def forget_after_fork(self) -> None:
        """The child has no connection of its parent's, neither to use nor to close."""
        # Closing an inherited SQLite connection, even by garbage collection at exit, could wait for a mutex
        # that a thread of the parent held at the fork: one reference is never given back.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.engine.pool))
        self.engine.dispose(close=False)

    def _make_engine(self, url: URL) -> Engine:
        if url.get_backend_name() not in _BACKENDS:
            raise StoreUnavailableError(self.name, _POSSIBLE)
        if url.get_backend_name() != "sqlite":
            try:
                return create_engine(url, pool_pre_ping=True)
            except ModuleNotFoundError as error:
                raise StoreUnavailableError(
                    self.name,
                    f"needs {error.name}, which is not installed; pip install 'ktrdr-otel[postgresql]'",
                ) from error
        # One connection for a memory database: each further one would see a database of its own.
        size = {"pool_size": 1, "max_overflow": 0} if self.in_memory else {"pool_size": 5}
        engine = create_engine(
            url,
            poolclass=QueuePool,
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
            **size,
        )
        if not self.in_memory:
            self._make_folder(Path(url.database or ""))
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _make_folder(self, database: Path) -> None:
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailableError(
                self.name, f"its folder cannot be made: {error.strerror or error}"
            ) from error
        # It holds what the program logs: its owner's to read. SQLite gives the files beside it the same mode.
        with suppress(OSError):  # it is there, or SQLite says why it cannot be
            os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except _REFUSALS as error:
            raise StoreError(f"{self.name}: {_why(error)}") from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            why = _why(error)
            if "locked" in why and (frozen := self.frozen_writer()) is not None:
                why = f"{why}, process {frozen} holds it and was stopped by a signal"
            raise StoreUnavailableError(self.name, why) from error


def name_of(url: URL) -> str:
    """What people may read about a database: a path, as seen from here, or a URL without password and options."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or ":memory:")
        with suppress(FileNotFoundError, ValueError):  # there is no here, or it is not below
            path = path.relative_to(Path.cwd())
        return str(path)
    return url.set(query={}).render_as_string(hide_password=True)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        # The text itself is not repeated: it may hold a password.
        raise StoreUnavailableError(
            "the database URL",
            _POSSIBLE,
        ) from error
    return parsed


def _why(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    connection.execute("PRAGMA foreign_keys=ON")
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    # SQLite does not wait by itself here: a process that opens the same fresh file at the same time is in the way.
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return  # where the file system has no shared memory the answer stays "delete", which works too
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("ktrdr_otel_writes"):
        connection.exec_driver_sql("BEGIN")
        return
    # In WAL mode NORMAL loses nothing when the process dies, and costs no fsync per transaction.
    connection.exec_driver_sql(
        "PRAGMA synchronous=FULL" if options.get("ktrdr_otel_durable") else "PRAGMA synchronous=NORMAL"
    )
    # A transaction that reads first and then writes fails at once when another process has written in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
