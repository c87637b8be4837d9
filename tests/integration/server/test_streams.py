"""Streams: what readers hear, when they come back, and when the server goes."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from ktrdr_otel.operations.ports import Batch
from tests.integration.server.conftest import TOKEN, Running, Serve, begin, finish, progress, unit

OPERATIONS = "/api/v1/operations"


def events(
    running: Running,
    path: str = f"{OPERATIONS}/one/events",
    *,
    after: int | None = None,
    last_id: str | None = None,
) -> Generator[ServerSentEvent, None, None]:
    """The events of a stream, for as long as they are asked for."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    params = None if after is None else {"after": after}
    with (
        httpx.Client(base_url=running.url, timeout=httpx.Timeout(10, read=60)) as client,
        connect_sse(client, "GET", path, headers=headers, params=params) as source,
    ):
        assert source.response.status_code == 200
        yield from source.iter_sse()


def test_a_stream_tells_state_steps_and_the_end(running: Running) -> None:
    """Steps in order, none missing; the end comes after the last step, then the stream is over."""
    begin(running.service)
    told = events(running, after=0)
    assert next(told).event == "state"
    running.service.write(Batch(finished=[unit("one", number) for number in range(1, 4)]))
    running.service.write(Batch(progress={"one": progress(3)}))
    finish(running.service, count=3)
    rest = list(told)
    steps = [json.loads(each.data) for each in rest if each.event == "step"]
    assert [step["item_name"] for step in steps] == ["item 1", "item 2", "item 3"]
    assert [step["sequence"] for step in steps] == [int(each.id) for each in rest if each.event == "step"]
    assert rest[-1].event == "end"
    assert json.loads(rest[-1].data) == running.client.get(f"{OPERATIONS}/one").json()


def test_an_operation_that_has_ended_is_told_to_its_end(running: Running) -> None:
    """However late somebody comes, also after a restart of the server."""
    begin(running.service)
    running.service.write(Batch(finished=[unit("one", 1), unit("one", 2)]))
    finish(running.service)
    # The server may have looked before the end was written, and tell that state on its way to the end.
    told = [each.event for each in events(running, after=0)]
    assert [event for event in told if event != "state"] == ["step", "step", "end"]
    assert [each.event for each in events(running)][-1] == "end"


def test_all_operations_are_on_one_stream(running: Running) -> None:
    """Those that run, those that begin, and the ends of both."""
    begin(running.service, "one")
    told = events(running, "/api/v1/events")
    assert json.loads(next(told).data)["operation_id"] == "one"
    begin(running.service, "two")
    running.service.write(Batch(finished=[unit("two", 1)]))
    finish(running.service, "one")
    finish(running.service, "two")
    heard: set[tuple[str, str]] = set()
    for each in told:
        heard.add((each.event, json.loads(each.data)["operation_id"]))
        if {("end", "one"), ("end", "two"), ("step", "two")} <= heard:
            break


def test_a_list_needs_no_steps(running: Running) -> None:
    """Only states and ends are told to who does not want them."""
    begin(running.service)
    told = events(running, "/api/v1/events?steps=false")
    next(told)
    running.service.write(Batch(finished=[unit("one", 1)], progress={"one": progress(1)}))
    finish(running.service)
    heard = []
    for each in told:
        heard.append(each.event)
        if each.event == "end":
            break
    assert "step" not in heard


def test_the_state_of_this_process_is_told_before_it_is_stored(running: Running) -> None:
    """A training beside its server is on the stream within two tenths of a second."""
    begin(running.service)
    told = events(running)
    next(told)
    running.service.progress("one", progress(42))
    assert json.loads(next(told).data)["message"] == "42 done"


def test_a_websocket_says_the_same(running: Running) -> None:
    """Each message is one JSON text."""
    begin(running.service)
    address = running.url.replace("http://", "ws://")
    with connect(f"{address}{OPERATIONS}/one/ws?after=0") as socket:
        first = json.loads(socket.recv(timeout=5))
        assert (first["event"], first["data"]["operation_id"]) == ("state", "one")
        running.service.write(Batch(finished=[unit("one", 1)]))
        finish(running.service)
        rest = [json.loads(text) for text in socket]
    assert [each["event"] for each in rest if each["event"] != "state"] == ["step", "end"]
    assert rest[-1]["data"]["status"] == "completed"


def test_a_websocket_needs_the_token_and_an_own_origin(serve: Serve) -> None:
    """As every other request."""
    running = serve(token=TOKEN)
    begin(running.service)
    address = running.url.replace("http://", "ws://")
    known = {"Authorization": f"Bearer {TOKEN}"}
    for headers, origin in (({}, None), (known, "https://evil.example")):
        with pytest.raises(Exception, match="HTTP 403"):
            connect(f"{address}{OPERATIONS}/one/ws", additional_headers=headers, origin=origin)  # type: ignore[arg-type] # a plain text
    with connect(f"{address}{OPERATIONS}/one/ws", additional_headers=known) as socket:
        assert json.loads(socket.recv(timeout=5))["event"] == "state"


def test_a_server_that_stops_says_so(serve: Serve) -> None:
    """The stream ends with a reason, and what runs goes on."""
    running = serve()
    begin(running.service)
    told = events(running)
    next(told)
    running.server.should_exit = True
    last = list(told)[-1]
    assert (last.event, json.loads(last.data)) == ("bye", {"reason": "the server stops"})
    assert running.service.get("one").status.value == "running"


def test_a_reader_that_does_not_read_finds_the_final_state(running: Running) -> None:
    """It jumps there; what was told in between is not kept for it."""
    begin(running.service)
    told = events(running)
    next(told)
    for count in range(3_000):
        running.service.progress("one", progress(count))
        if count % 100 == 0:
            time.sleep(0.001)
    finish(running.service, count=3_000)
    rest = list(told)
    assert rest[-1].event == "end"
    assert json.loads(rest[-1].data)["items_completed"] == 3_000
    assert len(rest) < 300


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    batches=st.lists(st.integers(min_value=1, max_value=700), min_size=1, max_size=5),
    cuts=st.lists(st.integers(min_value=1, max_value=400), max_size=6),
)
def test_who_is_cut_and_comes_back_misses_nothing(
    running: Running, batches: list[int], cuts: list[int]
) -> None:
    """Every step once and in order, whatever the moments of the cuts; then the true end."""
    operation_id = f"cut-{time.monotonic_ns()}"
    begin(running.service, operation_id)
    path = f"{OPERATIONS}/{operation_id}/events"
    number = 0

    def work() -> None:
        nonlocal number
        for size in batches:
            units = [unit(operation_id, number + each) for each in range(1, size + 1)]
            number += size
            running.service.write(Batch(finished=units, progress={operation_id: progress(number)}))
        finish(running.service, operation_id, number)

    worker = threading.Thread(target=work)
    worker.start()
    heard: list[ServerSentEvent] = []
    last_id: str | None = None
    for cut in [*cuts, None]:
        with closing(events(running, path, after=0 if last_id is None else None, last_id=last_id)) as told:
            heard.extend(told if cut is None else islice(told, cut))
        last_id = heard[-1].id
    worker.join()
    steps = [int(each.id) for each in heard if each.event == "step"]
    stored = [row.sequence for row in running.service.steps(after=0, limit=10_000, operation_id=operation_id)]
    assert steps == stored
    assert heard[-1].event == "end"
    assert json.loads(heard[-1].data)["items_completed"] == number


_JOB = """
import sys, time
from ktrdr_otel import checkpoint, observe
with observe("elsewhere", operation_id="elsewhere", database=sys.argv[1], display="off"):
    sys.stdin.readline()
    with checkpoint("load", item="AAPL", index=1, total=2):
        pass
    print(time.time(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_in_another_process_is_on_the_stream_within_a_second(
    serve: Serve, kind: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    """On the store of both kinds: its beginning, its steps and its end."""
    file = str(tmp_path / "operations.db")
    database = file if kind == "sqlite" else str(request.getfixturevalue("postgresql_url"))
    running = serve(database=database)
    job = subprocess.Popen(
        [sys.executable, "-c", _JOB, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdin is not None
    assert job.stdout is not None
    told = events(running, "/api/v1/events")
    assert json.loads(next(told).data)["operation_id"] == "elsewhere"
    job.stdin.write("\n")
    job.stdin.flush()
    worked_at = float(job.stdout.readline())
    step = next(each for each in told if each.event == "step")
    assert time.time() - worked_at < 1 + LENIENCE_SECONDS
    assert json.loads(step.data)["item_name"] == "AAPL"
    job.communicate("\n", timeout=30)
    end = next(each for each in told if each.event == "end")
    assert json.loads(end.data)["status"] == "completed"


# A machine that also runs other tests may keep any of the processes waiting; a lost update would never come.
LENIENCE_SECONDS = 5.0


def test_two_servers_on_one_postgresql_see_each_others_updates(serve: Serve, postgresql_url: str) -> None:
    """What comes in through one reaches a reader of the other."""
    first, second = serve(database=postgresql_url), serve(database=postgresql_url)
    begin(first.service)
    told = events(second)
    next(told)
    first.service.write(Batch(finished=[unit("one", 1)], progress={"one": progress(1)}))
    assert next(each for each in told if each.event == "step").event == "step"
    second.client.post(f"{OPERATIONS}/one/cancel", json={"reason": "from the second"})
    finish(first.service)
    assert list(told)[-1].event == "end"
