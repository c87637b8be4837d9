"""Open spans over the real OTLP protocols: what a receiver shows during a run, and the trace that it is left with."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import Status as SpanStatus
from opentelemetry.trace import StatusCode

from ktrdr_otel import semconv
from ktrdr_otel.exporters.endpoints import traces_url
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter
from ktrdr_otel.exporters.records import final_span_id
from tests.integration.otlp_receivers import GrpcReceiver, HttpReceiver
from tests.unit.exporters.stepped import Program
from tests.unit.exporters.storages import Seen, fold

FRESH_NS = 6_000_000_000  # the oldest that a receiver's picture of the run may be


class Receiver(Protocol):
    """What keeps spans, whatever the protocol."""

    spans: list[Span]


@pytest.fixture(params=["http/protobuf", "grpc"])
def protocol(request: pytest.FixtureRequest) -> Iterator[tuple[Receiver, Any]]:
    """A receiver and an exporter to it, over a real connection."""
    if request.param == "grpc":
        by_grpc = GrpcReceiver()
        yield by_grpc, OtlpGrpcExporter(f"http://127.0.0.1:{by_grpc.port}")
        by_grpc.close()
    else:
        by_http = HttpReceiver()
        yield by_http, OtlpHttpExporter(traces_url(by_http.url))
        by_http.close()


def id_of(span: Span) -> int:
    """Its id as a number."""
    return int.from_bytes(span.span_id, "big")


def value_of(value: AnyValue) -> Any:
    """What the attribute says."""
    return getattr(value, value.WhichOneof("value") or "string_value")


def seen(span: Span) -> Seen:
    """The span as a reader finds it."""
    status = Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_")
    return Seen(
        span.name,
        int.from_bytes(span.parent_span_id, "big") or None,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        status,
        span.status.message or None,
        tuple(event.name for event in span.events),
        {each.key: value_of(each.value) for each in span.attributes},
    )


def badger_rule(spans: list[Span]) -> dict[tuple[bytes, int, int], Seen]:
    """Of the same trace, start in microseconds and span id the last one wins."""
    return {(span.trace_id, span.start_time_unix_nano // 1000, id_of(span)): seen(span) for span in spans}


def shown_by_badger(spans: list[Span]) -> dict[int, Seen]:
    """What is kept, where no span is there twice: under two starts."""
    kept = badger_rule(spans)
    shown = {span_id: span for (_, _, span_id), span in kept.items()}
    assert len(kept) == len(shown), "one span with two starts"
    return shown


def shown_by_all(spans: list[Span]) -> dict[int, Seen]:
    """Every record is kept, so none may come twice."""
    kept = {id_of(span): seen(span) for span in spans}
    assert len(kept) == len(spans), "a record came twice"
    return kept


def a_run(program: Program) -> Iterator[None]:
    """Symbols with steps that are short, long and very long; one of them fails. Yields after each turn."""
    run = {semconv.OPERATION_ID: "run"}
    operation = program.begin("operation", None, **run)
    for symbol in range(2):
        around = program.begin(f"symbol {symbol}", operation, **run)
        for number, seconds in enumerate((0.05, 0.3, 2.5, 17.0, 0.05)):
            step = program.begin(f"step {number}", around, number=number, **run)
            while seconds > 0:
                program.turn(min(seconds, 1.0))
                seconds -= 1.0
                yield
            if (symbol, number) == (1, 3):
                step.record_exception(ValueError("no bars"))
                step.set_status(SpanStatus(StatusCode.ERROR, "no bars"))
            program.end(step)
        program.end(around)
    program.end(operation)


def is_open_in(shown: Mapping[int, Seen], span_id: int, mode: LiveMode) -> bool:
    """Whether a reader takes the span for open."""
    state = shown[span_id].attributes.get(semconv.SPAN_STATE) if span_id in shown else None
    if mode is LiveMode.SNAPSHOT:
        return state == semconv.STATE_IN_PROGRESS
    return state == semconv.STATE_STARTED and final_span_id(span_id) not in shown


@pytest.mark.parametrize("mode", [LiveMode.SNAPSHOT, LiveMode.MARKERS])
def test_a_receiver_shows_the_run_as_it_was_seconds_ago(
    mode: LiveMode, protocol: tuple[Receiver, Any]
) -> None:
    """At every moment: what is open is open there, what ended has ended, and with markers no parent is missing."""
    receiver, exporter = protocol
    program = Program(mode, exporter, max_batch=512)
    show = shown_by_badger if mode is LiveMode.SNAPSHOT else shown_by_all
    looks = 0
    for _ in a_run(program):
        looks += 1
        shown = show(receiver.spans)
        then_ns = program.clock.wall_ns() - FRESH_NS
        for span in program.open:
            span_id = span.get_span_context().span_id
            if (span.start_time or 0) <= then_ns:
                assert is_open_in(shown, span_id, mode), f"{span.name} is not seen"
                assert mode is LiveMode.MARKERS or (shown[span_id].end_ns or 0) >= then_ns, "seen long ago"
        for span_id, ended in program.ended.items():
            if (ended.end_time or 0) <= then_ns:
                assert not is_open_in(shown, span_id, mode), f"{ended.name} is still open there"
        if mode is LiveMode.MARKERS:
            assert all(each.parent is None or each.parent in shown for each in shown.values())
    assert looks > 40
    program.conclude()
    shown = show(receiver.spans)
    assert (shown if mode is LiveMode.SNAPSHOT else fold(shown)) == program.plain_trace()
    program.queue.shutdown(0)
