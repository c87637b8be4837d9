"""A server that starts again knows what has ended meanwhile, and tells nobody twice."""

import dataclasses
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse
from prometheus_client.parser import text_string_to_metric_families

from ktrdr_otel.operations.models import Ending, OperationStatus
from ktrdr_otel.operations.ports import Batch
from tests.integration.server.conftest import Running, Serve, begin, finish, progress, serve, unit

__all__ = ["serve"]  # the fixture


@pytest.fixture
def messages() -> Iterator[tuple[str, "SimpleQueue[str]"]]:
    """An Apprise URL, and the titles of the messages that were sent there."""
    heard: SimpleQueue[str] = SimpleQueue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["title"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/", heard
    server.shutdown()
    thread.join()
    server.server_close()


def series(running: Running, name: str) -> list[tuple[dict[str, str], float]]:
    """What is exposed under that name."""
    families = text_string_to_metric_families(running.client.get("/metrics").text)
    return [(each.labels, each.value) for family in families for each in family.samples if each.name == name]


def stop(running: Running) -> None:
    """The server has stopped; its store goes on."""
    running.server.should_exit = True
    running.until(lambda: not _answers(running))


def _answers(running: Running) -> bool:
    try:
        return httpx.get(f"{running.url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_ends_during_a_restart_are_exposed_and_no_news(
    serve: Serve, messages: tuple[str, "SimpleQueue[str]"]
) -> None:
    """A kill seen by a watcher and a failure: with their time, status and place; not counted, not told again."""
    url, titles = messages
    first = serve()
    service = first.service
    for name in ("lost", "failed", "ended long ago", "runs"):
        begin(service, name)
    first.until(lambda: len(series(first, "ktrdr_operation_progress_ratio")) == 4)
    stop(first)

    service.write(Batch(finished=[unit("lost", 1)]))
    there = dataclasses.replace(
        progress(1), context={"symbol": "AAPL", "item": "bars", "progress_type": "load", "step": "reading"}
    )
    service.write(Batch(progress={"lost": there}))
    beat = service._store.get("lost").heartbeat.wall_ns
    assert service._store.mark_lost("lost", reason="killed", ended_ns=beat, heartbeat_ns=beat)
    failed_at = datetime.now(UTC) - timedelta(seconds=90)
    service.write(
        Batch(endings={"failed": Ending(status=OperationStatus.FAILED, ended_at=failed_at, progress=there)})
    )
    finish(service, "ended long ago", ended_at=datetime.now(UTC) - timedelta(minutes=16))

    second = serve(notify=url)
    second.until(lambda: len(series(second, "ktrdr_operation_end_timestamp_seconds")) == 2)
    ends = {
        labels["ktrdr_operation_id"]: (labels, value)
        for labels, value in series(second, "ktrdr_operation_end_timestamp_seconds")
    }
    assert ends["failed"][1] == pytest.approx(failed_at.timestamp(), abs=0.001)
    assert ends["lost"][1] == pytest.approx(beat / 1e9, abs=0.001)
    for status, (labels, _) in ends.items():
        assert labels["ktrdr_operation_status"] == status
        place = [labels[f"ktrdr_{name}"] for name in ("symbol_name", "item_name", "progress_type", "step")]
        assert place == ["AAPL", "bars", "load", "reading"]
        assert labels["ktrdr_trace_id"] == "ab" * 16
    assert series(second, "ktrdr_operations_total") == []
    assert [
        labels["ktrdr_operation_id"] for labels, _ in series(second, "ktrdr_operation_progress_ratio")
    ] == ["runs"]

    with (
        httpx.Client(base_url=second.url, timeout=10) as client,
        connect_sse(client, "GET", "/api/v1/events", headers={"Last-Event-ID": "0"}) as source,
    ):
        finish(service, "runs")
        told: list[tuple[str, str]] = []
        for each in source.iter_sse():
            told.append((each.event, json.loads(each.data)["operation_id"]))
            if each.event == "end":
                break
    assert ("end", "runs") in told
    assert not {("end", "lost"), ("end", "failed")} & set(told)
    assert titles.get(timeout=20) == "ktrdr-otel: runs"
    assert titles.empty()
    assert [value for _, value in series(second, "ktrdr_operations_total")] == [1.0]
