"""`serve`, `train --serve` and the commands that ask a server, as people type them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ktrdr_otel.operations.logs import Logged
from ktrdr_otel.operations.ports import Batch
from tests.integration.command_line import answer, ktrdr_otel
from tests.integration.server.conftest import TOKEN, Running, Serve, begin, finish, progress, unit


@pytest.fixture(params=["store", "server"])
def place(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> tuple[Running, list[str]]:
    """A served store, and the arguments by which the command line finds it: directly, or through the server."""
    running = serve()
    by = (
        ["--database", str(tmp_path / "operations.db")]
        if request.param == "store"
        else ["--url", running.url]
    )
    return running, by


def test_commands_say_the_same_of_a_store_and_of_its_server(place: tuple[Running, list[str]]) -> None:
    """list, show, checkpoints and cancel."""
    running, by = place
    begin(running.service)
    running.service.write(Batch(finished=[unit("one", 1), unit("one", 2)], progress={"one": progress(2)}))
    [listed] = answer(ktrdr_otel("operations", "list", "--json", *by))
    shown = answer(ktrdr_otel("operations", "show", "one", "--json", *by))
    assert (listed["operation_id"], shown["message"]) == ("one", "2 done")
    steps = answer(ktrdr_otel("operations", "checkpoints", "one", "--json", *by))
    assert [step["item_name"] for step in steps] == ["item 1", "item 2"]
    running.service.write(Batch(logs=[Logged("one", 10**18, "ERROR", "bars", "no disk", None, None, {})]))
    [record] = answer(ktrdr_otel("operations", "logs", "one", "--json", *by))
    assert (record["message"], record["step"]) == ("no disk", None)
    stack = ktrdr_otel("operations", "stack", "one", *by)
    assert 'Thread "MainThread"' in stack.stdout
    said = ktrdr_otel("operations", "cancel", "one", *by)
    assert "stops at its next step" in said.stdout
    for command in ("show", "logs", "stack"):
        unknown = ktrdr_otel("operations", command, "none", *by)
        assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
        assert "no operation none" in unknown.stderr
    finish(running.service, "one")
    ended = ktrdr_otel("operations", "stack", "one", *by)
    assert (ended.returncode, ended.stderr) == (2, "error: operation one is completed\n")


def test_watch_follows_to_the_end(place: tuple[Running, list[str]]) -> None:
    """Every step and the end; exit code 0, since it has completed."""
    running, by = place
    begin(running.service)

    def work() -> None:
        for number in range(1, 4):
            running.service.write(Batch(finished=[unit("one", number)], progress={"one": progress(number)}))
            time.sleep(0.2)
        finish(running.service, count=3)

    worker = threading.Thread(target=work)
    worker.start()
    done = ktrdr_otel("operations", "watch", "one", "--json", *by)
    worker.join()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line["item_name"] for line in lines if line["event"] == "step"] == ["item 1", "item 2", "item 3"]
    assert (lines[-1]["event"], lines[-1]["status"]) == ("end", "completed")


def test_watch_without_an_id_takes_what_runs(place: tuple[Running, list[str]]) -> None:
    """In plain lines; it waits where nothing runs yet."""
    running, by = place
    watching = subprocess.Popen(
        [sys.executable, "-m", "ktrdr_otel", "operations", "watch", "--plain", *by],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    with watching.stdout as said, watching.stderr as complained:
        assert "waiting for an operation to begin" in complained.readline()
        begin(running.service)
        assert "operation one: train one" in said.readline()
        running.service.write(Batch(progress={"one": progress(7)}))
        finish(running.service, count=7)
        lines = said.read().splitlines()
    assert watching.wait(10) == 0
    assert lines[-1].endswith("operation one completed")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["operations", "list", "--url", "http://127.0.0.1:1"], "does not answer"),
        (["operations", "list", "--url", "nonsense"], "begins with http"),
        (["operations", "list", "--url", "http://x", "--database", "y"], "exclude each other"),
        (["serve", "--host", "0.0.0.0"], "KTRDR_OTEL_TOKEN"),
        (["serve", "--host", "203.0.113.1", "--token", TOKEN], "cannot listen on 203.0.113.1"),
        (["serve", "--trace-url", "http://x/{nothing}"], "error: trace_url: only "),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    """It says what, where, and what to do; exit code 2."""
    done = ktrdr_otel(*arguments, environment={"KTRDR_OTEL_DATABASE": str(tmp_path / "o.db")})
    if "list" in arguments and "--database" not in arguments:
        done = ktrdr_otel(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_wants_its_token_from_the_command_line_too(serve: Serve) -> None:
    """It is in the environment, where no other user sees it."""
    running = serve(token=TOKEN)
    refused = ktrdr_otel("operations", "list", "--url", running.url)
    assert "set KTRDR_OTEL_TOKEN" in refused.stderr
    token = {"KTRDR_OTEL_TOKEN": TOKEN}
    assert answer(ktrdr_otel("operations", "list", "--json", "--url", running.url, environment=token)) == []


def started(arguments: list[str], **environment: str) -> "tuple[subprocess.Popen[str], str]":
    """The process, and the URL that it says it serves at."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ktrdr_otel", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+", line):
            return process, found[0]
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Its streams end with a reason, its log is JSON lines, and nothing is left behind."""
    process, url = started(["serve", "--port", "0", "--database", str(tmp_path / "operations.db")])
    with httpx.Client(base_url=url) as client:
        for _ in range(100):
            try:
                assert client.get("/healthz").status_code == 200
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        with client.stream("GET", "/api/v1/events") as stream:
            process.send_signal(number)
            assert "the server stops" in stream.read().decode()
    _, log = process.communicate(timeout=20)
    assert process.returncode in (0, -number, 128 + number)
    for line in log.splitlines():
        told: dict[str, Any] = json.loads(line)
        assert {"timestamp", "level", "message"} <= set(told)
