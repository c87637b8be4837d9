"""The process that completes what a dead run owes: what it may send, to whom, and how long it goes on trying."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ktrdr_otel import beside, closing
from ktrdr_otel.closing import Outages, close_traces
from ktrdr_otel.exporters.closing import Receivers, pay
from ktrdr_otel.exporters.otlp import OtlpHttpExporter
from ktrdr_otel.operations.models import Worker
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server.closing import TraceCloser
from ktrdr_otel.settings import Settings, load_settings
from ktrdr_otel.storage import SqlOperationStore, open_store
from tests.contract.builders import new, unit
from tests.integration.otlp_receivers import HttpReceiver, spans_of


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
        return self.service.traces.debt("one") is not None

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


def test_an_outage_is_said_when_it_begins_and_when_it_ends(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two lines, however many tries: what fails, where, what happens next; and that it is over."""
    answers = iter([403] * 4)
    receiver.answer = lambda spans: (next(answers, 200), ExportTraceServiceResponse())
    debts.add(at(receiver))
    told(debts, monkeypatch, first_for=process_of(this_worker()))
    closing.main()
    began, ended = (record.message for record in caplog.records)
    assert began == (
        f"the trace of operation one is not complete: {receiver.url}/v1/traces: HTTP 403 Forbidden; tries go on for "
        "120 s, then the next server or ktrdr-otel command that looks at the store tries again, for a day"
    )
    assert ended == "the trace of operation one is complete after all"


def test_who_gives_up_says_so(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the last reason and who goes on."""
    receiver.answer = lambda spans: (403, ExportTraceServiceResponse())
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.2)
    debts.add(at(receiver))
    told(debts, monkeypatch, first_for=process_of(this_worker()))
    closing.main()
    assert len(caplog.records) == 2
    assert caplog.records[-1].message == (
        f"the trace of operation one stays incomplete: {receiver.url}/v1/traces: HTTP 403 Forbidden; "
        "the next server or ktrdr-otel command that looks at the store tries again, for a day"
    )


def test_what_is_complete_at_once_needs_no_words(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a terminal that is nobody's nothing is printed of what went well."""
    debts.add(at(receiver))
    told(debts, monkeypatch, first_for=process_of(this_worker()))
    closing.main()
    assert caplog.records == []
    assert len(receiver.spans) == 2


def test_what_is_not_due_yet_is_waited_for(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has put it off for 15 s, of which half a second is left."""
    debts.add(at(receiver))
    told(debts, monkeypatch)
    now_ns = debts.service._clock.wall_ns()
    assert debts.store.take_trace("one", now_ns=now_ns) is not None
    debts.store.put_off_trace("one", [at(receiver)], now_ns=now_ns - 14_500_000_000)
    assert debts.service.traces.owed() == []
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
    assert debts.service.traces.take("one") is not None
    closing.main()
    assert debts.are_owed
    assert receiver.spans == []


def test_who_lacks_the_credentials_does_not_keep_out_who_has_them(
    debts: Debts, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server was faster, and was refused: the watcher's closer sends at once all the same."""
    receiver.answer = lambda spans: (401, ExportTraceServiceResponse())
    debts.add(at(receiver))
    assert not close_traces(debts.service, Receivers(this_worker()), Outages())
    receiver.answer = lambda spans: (200, ExportTraceServiceResponse())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=token")
    receivers = Receivers(this_worker())
    assert not close_traces(debts.service, receivers, Outages())  # not its own process's: it waits
    assert close_traces(debts.service, receivers, Outages(), first_for=process_of(this_worker()))
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
    assert close_traces(debts.service, Receivers(this_worker()), Outages())  # nothing that could be done here
    assert debts.service.traces.owed() == ["one"]
    assert debts.service.traces.take("one") is not None


def test_a_name_that_means_the_same_everywhere_is_sent_to_from_anywhere(debts: Debts) -> None:
    """Without credentials."""
    worker = dataclasses.replace(this_worker(), boot_id="another")
    receivers = Receivers(this_worker())
    debts.add(TraceReceiver(protocol="http/protobuf", endpoint="http://jaeger:4318/v1/traces"), worker=worker)
    debt = debts.service.traces.debt("one")
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


def id_of(span: Span) -> int:
    """The span's id as a number."""
    return int.from_bytes(span.span_id)


def ids(receiver: HttpReceiver) -> list[int]:
    """Of all that it keeps, in the order of arrival."""
    return [id_of(span) for span in receiver.spans]


def close(debts: Debts) -> bool:
    """Whether one try, with the right to it, did it all."""
    return close_traces(
        debts.service, Receivers(this_worker()), Outages(), first_for=process_of(this_worker())
    )


def test_what_was_open_comes_first_then_what_had_ended_page_by_page(
    debts: Debts, receiver: HttpReceiver
) -> None:
    """However long the trace is, no request and no page in memory is longer than usual."""
    debts.add(at(receiver), steps=1200)
    assert close(debts)
    assert ids(receiver) == list(range(1, 1202))
    assert [len(spans_of(request)) for request in receiver.requests] == [1, 512, 512, 176]


def test_no_span_begins_before_what_is_around_it(debts: Debts, receiver: HttpReceiver) -> None:
    """The store counts in microseconds; of what has left before the nanoseconds are known."""
    debts.add(at(receiver), steps=3)
    assert close(debts)
    assert {span.start_time_unix_nano % 1000 for span in receiver.spans} == {999}
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in receiver.spans)


def test_nothing_is_read_that_nobody_takes(debts: Debts) -> None:
    """A receiver that is away costs one page."""
    away = TraceReceiver(protocol="http/protobuf", endpoint="http://127.0.0.1:9/v1/traces")
    debts.add(away, steps=1200)
    debt = debts.service.traces.take("one")
    assert debt is not None
    exporter = OtlpHttpExporter(away.endpoint, timeout_seconds=0.2)
    pages = debts.service.traces.checkpoints(debt)
    assert list(pay(debt, (), pages, {away: exporter}, lambda page: None)) == [away]
    assert sum(len(page) for page in pages) == 1200  # all but the first page


def test_what_has_arrived_is_not_sent_again(debts: Debts, receiver: HttpReceiver) -> None:
    """The receiver goes away in the middle and comes back."""
    debts.add(at(receiver), steps=1200)
    answers = iter([200, 200, 403])
    receiver.answer = lambda spans: (next(answers, 200), ExportTraceServiceResponse())
    assert not close(debts)
    assert len(receiver.spans) == 513
    assert close(debts)
    assert sorted(ids(receiver)) == list(range(1, 1202))


@pytest.mark.parametrize("is_digestible_bare", [True, False])
def test_one_span_that_cannot_be_digested_keeps_no_other_from_arriving(
    debts: Debts, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture, is_digestible_bare: bool
) -> None:
    """It arrives without what might be at fault, else it is left out, which is told."""

    def is_poison(span: Span) -> bool:
        return id_of(span) == 7 and not (is_digestible_bare and len(span.attributes) < 2)

    receiver.answer = lambda spans: (
        413 if any(is_poison(span) for span in spans) else 200,
        ExportTraceServiceResponse(),
    )
    debts.add(at(receiver), steps=20)
    assert close(debts)
    assert not debts.are_owed
    arrived = [number for number in range(1, 22) if is_digestible_bare or number != 7]
    assert sorted(ids(receiver)) == arrived
    assert ("left out: HTTP 413" in caplog.text) == (not is_digestible_bare)


def test_a_receiver_that_digests_nothing_at_all_is_tried_again(debts: Debts, receiver: HttpReceiver) -> None:
    """It is at fault then, and not each of the spans."""
    receiver.answer = lambda spans: (
        200 if len(spans) == 1 and id_of(spans[0]) == 1 else 400,
        ExportTraceServiceResponse(),
    )
    debts.add(at(receiver), steps=20)
    assert not close(debts)
    receiver.answer = lambda spans: (200, ExportTraceServiceResponse())
    assert close(debts)
    assert ids(receiver) == list(range(1, 22))


def test_what_a_receiver_took_and_did_not_store_is_done_with(
    debts: Debts, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A partial success is final: the rest and the end of the trace are not kept waiting for it."""
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    receiver.answer = lambda spans: (200, ExportTraceServiceResponse(partial_success=partial))
    debts.add(at(receiver), steps=600)
    assert close(debts)
    assert ids(receiver) == list(range(1, 602))
    assert "1 spans not stored: too old" in caplog.text


def test_of_two_receivers_the_one_that_works_gets_everything_once(
    debts: Debts, receiver: HttpReceiver
) -> None:
    """However often the other is tried; which gets everything when it is back."""
    other = HttpReceiver()
    try:
        other.answer = lambda spans: (403, ExportTraceServiceResponse())
        debts.add(at(other), at(receiver), steps=600)
        for _ in range(3):
            assert not close(debts)
            assert ids(receiver) == list(range(1, 602))
        other.answer = lambda spans: (200, ExportTraceServiceResponse())
        assert close(debts)
        assert ids(other) == list(range(1, 602))
        assert len(receiver.spans) == 601
    finally:
        other.close()
