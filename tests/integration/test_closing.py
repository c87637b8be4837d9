"""The process that completes what a dead run owes: what it may send, to whom, and how long it goes on trying."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from ktrdr_otel import beside, closing
from ktrdr_otel.closing import close_traces
from ktrdr_otel.exporters.closing import Receivers
from ktrdr_otel.operations.models import Worker
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.server.closing import TraceCloser
from ktrdr_otel.settings import Settings, load_settings
from ktrdr_otel.storage import SqlOperationStore, open_store
from ktrdr_otel.wiring import open_service
from tests.contract.test_store_contract import new, unit
from tests.integration.otlp_receivers import HttpReceiver


class Debts:
    """A store of dead runs, of this machine unless it is said otherwise."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.service: OperationsService = open_service(load_settings(database=database))
        self.store: SqlOperationStore = open_store(Settings(database=database))

    def add(self, *receivers: TraceReceiver, worker: Worker | None = None, steps: int = 1) -> None:
        """A run that died just now, and owes the spans of its steps."""
        export = TraceExport(receivers=receivers, live="off", resource={}, scope_version="1.0")
        run = dataclasses.replace(new("one"), worker=worker or this_worker(), trace_export=export)
        now_ns = self.service._clock.wall_ns()
        self.store.create(run, wall_ns=now_ns, monotonic_ns=1)
        ended = [unit(number)._replace(export_place=number) for number in range(2, steps + 2)]
        self.store.write(Batch(finished=ended, started=[unit(1, ended=False)]))
        assert self.store.mark_lost("one", reason="it died", ended_ns=now_ns, heartbeat_ns=now_ns)

    @property
    def are_owed(self) -> bool:
        """Whether the run owes anything, whoever has the turn to pay it."""
        return self.service.trace_debt("one") is not None

    def close(self) -> None:
        """Nothing is open."""
        self.service.close()
        self.store.close()


@pytest.fixture
def debts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Debts]:
    """A store, and an environment that names no receiver."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    debts = Debts(str(tmp_path / "operations.db"))
    yield debts
    debts.close()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An OTLP/HTTP receiver that keeps everything."""
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


def at(receiver: HttpReceiver) -> TraceReceiver:
    """Where it is."""
    return TraceReceiver(protocol="http/protobuf", endpoint=f"{receiver.url}/v1/traces")


def process_of(worker: Worker) -> dict[str, Any]:
    """The worker as a watcher names it."""
    return {"boot_id": worker.boot_id, "pid": worker.pid, "started_ticks": worker.pid_started_ticks}


def told(debts: Debts, monkeypatch: pytest.MonkeyPatch, **more: object) -> None:
    """The program is told which store it is, and pauses for a moment only."""
    monkeypatch.setattr(beside, "told", lambda: {"database": debts.database, **more})
    monkeypatch.setattr(closing, "_PAUSE_SECONDS", 0.01)


def test_it_goes_on_until_the_receiver_is_back(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put off is not due, and yet not done: the closer of a process outlives its receiver's outage."""
    answers = iter([503, 503, 503])
    receiver.answer = lambda spans: (next(answers, 200), ExportTraceServiceResponse())
    monkeypatch.setattr("ktrdr_otel.exporters.closing._TIMEOUT_SECONDS", 0.2)
    debts.add(at(receiver))
    told(debts, monkeypatch, first_for=process_of(this_worker()))
    closing.main()
    assert not debts.are_owed
    assert len(receiver.spans) == 2


def test_without_a_right_of_its_own_it_waits_for_its_turn_and_no_longer_than_it_may(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has the turn, and sends."""
    debts.add(at(receiver))
    told(debts, monkeypatch)
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.1)
    assert debts.service.take_trace("one") is not None
    closing.main()
    assert debts.are_owed
    assert receiver.spans == []


def test_who_lacks_the_credentials_does_not_keep_out_who_has_them(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server was faster, and was refused: the watcher's closer sends at once all the same."""
    receiver.answer = lambda spans: (401, ExportTraceServiceResponse())
    debts.add(at(receiver))
    assert not close_traces(debts.service, Receivers(this_worker()))
    receiver.answer = lambda spans: (200, ExportTraceServiceResponse())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=token")
    receivers = Receivers(this_worker())
    assert not close_traces(debts.service, receivers)  # not its own process's: it waits
    assert close_traces(debts.service, receivers, first_for=process_of(this_worker()))
    assert not debts.are_owed
    assert receiver.headers[0]["authorization"] == "token"


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [
        ("http/protobuf", "http://localhost:4318/v1/traces"),
        ("http/protobuf", "http://127.0.1.1:4318/v1/traces"),
        ("http/protobuf", "http://[::1]:4318/v1/traces"),
        ("grpc", "localhost:4317"),
        ("grpc", "http://localhost:4317"),
        ("grpc", "unix:///run/collector.sock"),
    ],
)
@pytest.mark.parametrize(
    "worker",
    [
        dataclasses.replace(this_worker(), boot_id="another"),
        dataclasses.replace(this_worker(), pid_namespace="another"),
    ],
    ids=["machine", "container"],
)
def test_the_loopback_of_another_machine_or_container_is_left_to_it(
    debts: Debts, protocol: str, endpoint: str, worker: Worker
) -> None:
    """Nothing is sent, no turn is taken and nothing put off: there it is still to be tried at once."""
    debts.add(TraceReceiver(protocol=protocol, endpoint=endpoint), worker=worker)
    assert close_traces(debts.service, Receivers(this_worker()))  # nothing that could be done here
    assert debts.service.traces_owed() == ["one"]
    assert debts.service.take_trace("one") is not None


def test_a_name_that_means_the_same_everywhere_is_sent_to_from_anywhere(debts: Debts) -> None:
    """Without credentials."""
    worker = dataclasses.replace(this_worker(), boot_id="another")
    receivers = Receivers(this_worker())
    debts.add(TraceReceiver(protocol="http/protobuf", endpoint="http://jaeger:4318/v1/traces"), worker=worker)
    debt = debts.service.trace_debt("one")
    assert debt is not None
    assert receivers.exporters_for(debt) is not None


def test_credentials_go_to_our_own_receiver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that an exporter made later could find them by is left in the environment."""
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    for name in (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER",
    ):
        monkeypatch.setenv(name, "authorization=token")
    Receivers(this_worker())
    assert not any("token" in value for name, value in os.environ.items() if name.startswith("OTEL_"))


def test_a_server_starts_no_process_again_and_again(debts: Debts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still due although somebody was started for it cannot be sent from here, or not now."""
    started: list[str] = []
    monkeypatch.setattr(beside, "start", lambda module, config: started.append(module))
    closer = TraceCloser(debts.service)
    closer.look(is_urgent=True)
    assert started == []
    debts.add(TraceReceiver(protocol="grpc", endpoint="http://tempo:4317"))
    for _ in range(5):
        closer.look(is_urgent=True)
    assert started == ["ktrdr_otel.closing"]
