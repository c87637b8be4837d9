"""A stall, its end and the operation's end reach a receiver, once each, whoever is stuck or dead."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.notify import check_notify
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.acceptance.jobs import JOB, SHORT


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[str]]]:
    """An Apprise URL, and the messages that were sent there."""
    heard: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["message"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/", heard
    server.shutdown()
    server.server_close()


def until(heard: list[str], count: int) -> list[str]:
    """That many messages."""
    deadline = time.monotonic() + 40
    while len(heard) < count:
        assert time.monotonic() < deadline, heard
        time.sleep(0.05)
    return heard


def test_a_stall_its_recovery_and_the_end_are_one_message_each(
    tmp_path: Path, receiver: tuple[str, list[str]]
) -> None:
    """Though the interpreter's lock is held."""
    url, heard = receiver
    gate = tmp_path / "gate"
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(tmp_path / "o.db"), "gil", "12"],
        env={**os.environ, **SHORT, "KTRDR_OTEL_NOTIFY": url, "GATE": str(gate)},
        stdout=subprocess.DEVNULL,
    )
    try:
        until(heard, 2)
        gate.touch()
        assert job.wait(60) == 0
    finally:
        job.kill()
        job.wait()
    stalled, goes_on, ended = until(heard, 3)
    assert "in Computing RSI (15/40) [1h] AAPL: waiting" in stalled
    assert goes_on.startswith("goes on: ")
    assert ended == "completed"


def test_a_killed_run_is_told(tmp_path: Path, receiver: tuple[str, list[str]]) -> None:
    """By a process that outlives it, and ends then."""
    url, heard = receiver
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(tmp_path / "o.db"), "busy", "30"],
        env={**os.environ, **SHORT, "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "60", "KTRDR_OTEL_NOTIFY": url},
        stdout=subprocess.PIPE,
    )
    assert job.stdout is not None
    assert job.stdout.readline() == b"there\n"
    time.sleep(0.6)  # the step is in the store by now
    job.kill()
    job.wait()
    job.stdout.close()
    [lost] = until(heard, 1)
    assert lost.startswith("lost in Processing AAPL")


def test_a_dead_receiver_delays_nothing(tmp_path: Path) -> None:
    """Nobody listens there; the run does not notice, and its record says which message was not taken and why."""
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(tmp_path / "o.db"), "slowly", "1"],
        env={**os.environ, **SHORT, "KTRDR_OTEL_NOTIFY": "json://127.0.0.1:1/"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert float(done.stdout.split()[-3]) < 3 + 4
    service = open_service(load_settings(database=str(tmp_path / "o.db")))
    deadline = time.monotonic() + 20
    while not (told := [each for each in service.logs("job") if each.logger == "ktrdr_otel.notify"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    service.close()
    assert told[0].message.startswith("the message was not taken: A Connection error occurred")


def test_a_url_that_cannot_be_used_is_said_without_being_repeated() -> None:
    """It may hold a password."""
    with pytest.raises(SettingsError, match="place 2") as caught:
        check_notify("json://localhost/ nonsense://secret")
    assert "secret" not in str(caught.value)
