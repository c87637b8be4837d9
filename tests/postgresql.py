"""A real PostgreSQL of Debian's package, started for the tests of one process and stopped behind them."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg


class Cluster:
    """A running server on loopback, with a new database for whoever asks."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._secret = secret
        self._numbers = count(1)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"empty_{next(self._numbers)}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://tester:{self._secret}@127.0.0.1:{self._port}/{name}"

    def _dsn(self, name: str) -> str:
        return f"host=127.0.0.1 port={self._port} user=tester password={self._secret} dbname={name}"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster in a folder of its own, run by an unprivileged user: PostgreSQL refuses root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is not installed: run `make system-packages`"
    folder = Path(tempfile.mkdtemp(prefix="ktrdr-otel-pg-"))
    port, secret = _free_port(), "of-this-test-alone"
    (folder / "secret").write_text(secret)
    unprivileged = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if unprivileged:
        for each in (folder, folder / "secret"):
            shutil.chown(each, "postgres")

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*unprivileged, str(programs[-1] / program), "-D", str(folder / "data"), *arguments],
            check=True,
            capture_output=True,
            cwd=folder,
        )

    try:
        run(
            "initdb",
            "-U",
            "tester",
            "-A",
            "scram-sha-256",
            f"--pwfile={folder / 'secret'}",
            "-E",
            "UTF8",
            "--no-sync",
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield Cluster(port, secret)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
