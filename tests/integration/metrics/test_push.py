"""Metrics pushed by an observed program to a real OTLP/HTTP receiver."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric

from ktrdr_otel import checkpoint, observe
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.metrics.state import Point
from ktrdr_otel.own_health import OwnHealth

GONE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


class Receiver:
    """Keeps the metrics of each push; answers `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.pushes: list[dict[str, Metric]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = ExportMetricsServiceRequest.FromString(body)
                receiver.pushes.append(
                    {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}
                )
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def until_pushed(self, name: str) -> None:
        """A push from now on has that metric."""
        seen, deadline = len(self.pushes), time.monotonic() + 10
        while not any(name in push for push in self.pushes[seen:]):
            assert time.monotonic() < deadline, f"{name} was not pushed"
            time.sleep(0.02)

    def close(self) -> None:
        """Nobody listens any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver to which this process pushes ten times a second."""
    made = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    yield made
    made.close()


def test_a_run_is_pushed_while_it_runs_and_gone_behind_it(receiver: Receiver, tmp_path: Path) -> None:
    """Its state, its steps' durations with their spans, its end; never the step under way."""
    with observe(
        "push", operation_type="training", display="off", database=str(tmp_path / "o.db")
    ) as operation:
        with checkpoint("indicator_computation", symbol="AAPL", timeframe="1h", indicator_name="RSI"):
            receiver.until_pushed("ktrdr.operation.progress")
        receiver.until_pushed("ktrdr.checkpoint.duration")
    *_, end, farewell = receiver.pushes
    (duration,) = next(
        push["ktrdr.checkpoint.duration"] for push in receiver.pushes if "ktrdr.checkpoint.duration" in push
    ).histogram.data_points
    assert [each.trace_id.hex() for each in duration.exemplars] == [operation.trace_id]
    (stamp,) = end["ktrdr.operation.end.timestamp"].gauge.data_points
    labels = {each.key: each.value.string_value for each in stamp.attributes}
    assert labels["ktrdr.operation.id"] == operation.operation_id
    assert labels["ktrdr.operation.status"] == "completed"
    assert [point.flags & GONE for point in end["ktrdr.operation.progress"].gauge.data_points] == [GONE]
    assert "ktrdr.operations.active" in farewell
    assert "ktrdr.operation.end.timestamp" not in farewell
    assert not any("ktrdr.operation.step.info" in push for push in receiver.pushes)


def test_a_receiver_that_refuses_is_said_once_and_harms_nobody(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on; the log has one line of ours however often it fails."""
    receiver.status = 404
    with observe("push", display="off", database=str(tmp_path / "o.db")) as operation:
        for _ in range(3):
            receiver.until_pushed("ktrdr.operation.progress")
    assert operation.status()["status"] == "completed"
    ours = [record for record in caplog.records if record.name == "ktrdr_otel.metrics.push"]
    assert [record.getMessage() for record in ours] == [
        "metrics are not delivered; the run goes on, further failures are only counted"
    ]


def test_numbers_that_cannot_be_made_stop_no_push(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of one turn is a failure that is counted, and the next turn is another one."""
    failed = threading.Event()
    points = OwnHealth.points

    def broken_once(own: OwnHealth) -> list[Point]:
        if not failed.is_set():
            failed.set()
            raise AttributeError("no such symbol")
        return points(own)

    monkeypatch.setattr(OwnHealth, "points", broken_once)
    with observe("push", display="off", database=str(tmp_path / "o.db")):
        assert failed.wait(10)
        receiver.until_pushed("ktrdr.otel.push.failures")


def test_a_push_that_hangs_keeps_no_operation_from_beginning(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor from ending: whatever a push waits for, it waits for by itself."""
    hanging, released = threading.Event(), threading.Event()

    def hang(own: OwnHealth) -> list[Point]:
        hanging.set()
        released.wait(60)
        return []

    monkeypatch.setattr(OwnHealth, "points", hang)
    monkeypatch.setenv("KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS", "0.2")
    database = str(tmp_path / "o.db")
    with observe("first", display="off", database=database):
        assert hanging.wait(10)
        began = threading.Event()

        def second() -> None:
            with observe("second", display="off", database=database):
                began.set()

        other = threading.Thread(target=second)
        other.start()
        is_beginning = began.wait(10)
        released.set()
        other.join()
    assert is_beginning


def test_nothing_is_pushed_where_only_traces_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Jaeger listens at the general endpoint and takes no metrics."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with observe("quiet", display="off", database=str(tmp_path / "o.db")):
        assert "ktrdr-otel metrics" not in {thread.name for thread in threading.enumerate()}


def test_an_exporter_that_there_is_not_is_refused_by_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything runs, as with traces."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "statsd")
    with (
        pytest.raises(SettingsError, match="OTEL_METRICS_EXPORTER: 'statsd'"),
        observe("wrong", display="off", database=str(tmp_path / "o.db")),
    ):
        pass
