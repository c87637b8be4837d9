"""`ktrdr-otel serve` in a process of its own, and programs to be seen on its page."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "ktrdr_otel"]

# One operation that does what its standard input says, line by line.
_PUPPET = """
import json
import logging
import sys
import time
from ktrdr_otel import checkpoint, observe
with observe(sys.argv[2], operation_type=sys.argv[3], operation_id=sys.argv[1], display="off"):
    for line in sys.stdin:
        command, word, keywords = json.loads(line)
        message = keywords.pop("message", None)
        logged = keywords.pop("logged", None)
        while True:
            with checkpoint(word, **keywords):
                if logged is not None:
                    logging.getLogger("puppet").error(logged)
                if command == "open":
                    sys.stdin.readline()
                if command == "fail":
                    raise ConnectionError(message)
                if command == "on":
                    time.sleep(0.02)
            if command != "on":
                break
"""


def environment(database: Path) -> dict[str, str]:
    """No setting of ours but the store; threads that wait by spinning would take the few cores."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KTRDR_", "OTEL_"))}
    return {**kept, "KTRDR_OTEL_DATABASE": str(database), "OMP_NUM_THREADS": "1"}


def until(wanted: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
    """It is so, within that time."""
    deadline = time.monotonic() + timeout_seconds
    while not wanted():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Server:
    """A server that can be stopped and started again at the same address."""

    database: Path
    more: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[str] | None" = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """It answers."""
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(self.port), *self.more],
            env=environment(self.database),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        until(self._answers)

    def stop(self) -> None:
        """It has ended as SIGTERM ends it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def ask(self, path: str, form: dict[str, Any] | None = None) -> Any:
        """What it answers to a GET, or to a POST of the form."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            None if form is None else json.dumps(form).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def begins_a_step(self, operation_id: str) -> None:
        """The operation has a step on record."""
        until(
            lambda: any(
                each["operation_id"] == operation_id for each in self.ask("/operations")["operations"]
            )
        )
        until(lambda: len(self.ask(f"/operations/{operation_id}/checkpoints")["checkpoints"]) > 0)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


class Puppet:
    """A running operation whose steps the test commands."""

    def __init__(
        self, database: Path, operation_id: str, name: str = "puppet", kind: str = "import", **settings: str
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PUPPET, operation_id, name, kind],
            env={**environment(database), **settings},
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def do(self, command: str, word: str, **keywords: Any) -> None:
        """It makes a checkpoint of that word: a `step`, one that stays `open`, one to `fail`, or `on` and on.

        What is `logged` in it is an error; a failure has its `message`.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, word, keywords]) + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Its exit code, after the last word."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        return self.process.wait(30)
