"""How stores are opened, by several at once, and what is said of those that cannot be."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from ktrdr_otel.storage.engine import Database
from ktrdr_otel.storage.watching import watching
from tests.contract.builders import new


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_two_processes_open_a_fresh_store_at_once(database: str) -> None:
    """One migrates, the other waits."""
    program = (
        "import sys; from ktrdr_otel.settings import Settings; from ktrdr_otel.storage import open_store;"
        "sys.stdin.readline(); open_store(Settings(database=sys.argv[1])).close()"
    )
    arguments = [sys.executable, "-c", program, database]
    both = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, problems = process.communicate(timeout=60)
        assert process.returncode == 0, problems


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """In one line that says what to do."""
    path = tmp_path / "operations.db"
    open_store(Settings(database=str(path))).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreUnavailableError, match="newer than this ktrdr-otel knows"):
        open_store(Settings(database=str(path)))


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("postgresql+psycopg://me:secret@nowhere/x", "psycopg"),
        ("nonsense://x", "the database URL: cannot be used"),
        (
            "mysql://somebody@host/name",
            "mysql://somebody@host/name: cannot be used; say sqlite:///path, a path, or",
        ),
        ("/proc/nowhere/operations.db", "/proc/nowhere/operations.db"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line_without_secrets(database: str, said: str) -> None:
    """The password is in no message."""
    with pytest.raises(StoreUnavailableError) as caught:
        open_store(Settings(database=database))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database at all\n" * 100)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        open_store(Settings(database=str(path)))
    assert path.read_text().startswith("these are my notes")


def test_a_server_that_no_longer_answers_is_away_in_seconds(postgresql_url: str) -> None:
    """Every connection has the limits, the watcher's too; those of the URL win."""
    database = Database(f"{postgresql_url}?connect_timeout=3")
    with database.reading() as connection:
        told = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr] # it is open
    database.close()
    assert (told["connect_timeout"], told["tcp_user_timeout"], told["keepalives_idle"]) == (
        "3",
        "10000",
        "10",
    )
    with psycopg.connect(watching(database)["database"]) as other:
        assert other.info.get_parameters() == told


_STOPS_IN_ITS_TURN = """
import os, signal, sys
from sqlalchemy import text
from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.storage.engine import Database
try:
    with Database(sys.argv[1]).writing() as connection:
        os.kill(os.getpid(), signal.SIGSTOP)
        connection.execute(text("SELECT 1"))
except StoreUnavailableError as error:
    print(error)
"""


def test_who_stops_in_the_middle_of_its_turn_is_thrown_out(postgresql_url: str) -> None:
    """By PostgreSQL itself, after five seconds: the others wait for it, and none of them gives up."""
    open_store(Settings(database=postgresql_url)).close()
    process = subprocess.Popen(
        [sys.executable, "-c", _STOPS_IN_ITS_TURN, postgresql_url], stdout=subprocess.PIPE, text=True
    )
    try:
        os.waitpid(process.pid, os.WUNTRACED)
        store = open_store(Settings(database=postgresql_url))
        store.create(new("one"), wall_ns=1, monotonic_ns=1)
        store.close()
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert "terminating connection due to idle-in-transaction timeout" in said
