"""The exporter thread: order, bounds, sampling, endings, forks."""

import gc
import os
import subprocess
import sys
import textwrap
import time

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, AlwaysRecordSampler

from ktrdr_otel.exporters.delivery import Delivery, Fate
from ktrdr_otel.exporters.lane import DropCause
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.queue import ExportQueue
from tests.unit.exporters.conftest import FakeClock, QueueMaker, ScriptedExporter, finished_spans


def test_spans_leave_in_the_order_of_their_ends(make_queue: QueueMaker) -> None:
    """What ended first is exported first, in batches of the given size at most."""
    exporter = ScriptedExporter()
    queue, tracer = make_queue(exporter, max_batch=7)
    for number in range(100):
        tracer.start_span(str(number)).end()
    assert queue.flush(5)
    assert exporter.names == [str(number) for number in range(100)]
    assert max(len(batch) for batch in exporter.batches) <= 7
    assert queue.health().exported == 100


def test_a_large_batch_does_not_wait_for_the_interval(make_queue: QueueMaker) -> None:
    """More than a batch wakes the thread, long before its interval is over."""
    exporter = ScriptedExporter()
    exporter.go_on.clear()
    queue, tracer = make_queue(exporter, interval_seconds=60, max_batch=8)
    tracer.start_span("first").end()
    assert not queue.flush(0.01)
    assert exporter.entered.wait(5)
    while queue._wake.qsize():  # the thread hangs in its export: nothing but what follows will wake it again
        queue._wake.get_nowait()
    exporter.entered.clear()
    for number in range(9):
        tracer.start_span(str(number)).end()
    exporter.go_on.set()
    assert exporter.entered.wait(5)


def test_an_export_is_not_instrumented(make_queue: QueueMaker) -> None:
    """In the exporter thread instrumented clients make no spans, which we would only export again."""
    suppressed: list[object] = []

    def judge(spans: object) -> Delivery:
        suppressed.append(otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY))
        return Delivery(Fate.DELIVERED)

    queue, tracer = make_queue(ScriptedExporter(judge))
    tracer.start_span("one").end()
    assert queue.flush(5)
    assert suppressed == [True]


def test_open_spans_are_known_until_they_end(make_queue: QueueMaker) -> None:
    """The thread's table holds the spans that are open, and only those."""
    queue, tracer = make_queue(ScriptedExporter(), live=LiveMode.MARKERS)
    outer = tracer.start_span("outer")
    tracer.start_span("inner").end()
    assert queue.flush(5)
    assert queue.health().open_spans == 1
    outer.end()
    assert queue.flush(5)
    assert queue.health().open_spans == 0


def test_an_unsampled_span_with_flags_is_not_exported(make_queue: QueueMaker) -> None:
    """An unsampled span's flags can be 2 (random trace id); the sampled bit alone decides."""
    exporter = ScriptedExporter()
    queue, _ = make_queue(exporter)
    provider = TracerProvider(sampler=AlwaysRecordSampler(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(ExportProcessor(queue))
    span = provider.get_tracer("tests").start_span("unsampled")
    assert span.get_span_context().trace_flags == 2
    span.end()
    assert queue.flush(5)
    assert exporter.names == []
    assert queue.health().dropped[DropCause.QUEUE_FULL] == 0


def test_memory_is_bounded_while_an_export_hangs(make_queue: QueueMaker) -> None:
    """Ends beyond twice the limit find no room; each is counted, and all that found room arrive."""
    exporter = ScriptedExporter()
    exporter.go_on.clear()
    queue, _ = make_queue(exporter, max_queue=10, max_batch=5)
    spans = finished_spans(101)
    queue.ended(spans[0])
    assert exporter.entered.wait(5)
    for span in spans[1:]:
        queue.ended(span)
    health = queue.health()
    assert health.queued == 1 + 20
    assert health.dropped[DropCause.QUEUE_FULL] == 80
    exporter.go_on.set()
    assert queue.flush(5)
    health = queue.health()
    assert health.exported + sum(health.dropped.values()) == 101
    assert exporter.names == [str(number) for number in range(health.exported)]


def test_open_spans_whose_end_found_no_room_are_forgotten(make_queue: QueueMaker) -> None:
    """A dropped end leaves nothing in the table of open spans."""
    exporter = ScriptedExporter()
    exporter.go_on.clear()
    queue, tracer = make_queue(exporter, max_queue=5, max_batch=5, live=LiveMode.SNAPSHOT)
    spans = [tracer.start_span(str(number)) for number in range(5)]
    finished = finished_spans(50)
    queue.ended(finished[0])
    assert exporter.entered.wait(5)
    for span in finished:
        queue.ended(span)
    for started in spans:
        started.end()
    exporter.go_on.set()
    assert queue.flush(5)
    assert queue.health().dropped[DropCause.QUEUE_FULL] > 0
    assert queue.flush(5)
    assert queue.health().open_spans == 0


def test_a_flush_is_bounded_by_its_time(make_queue: QueueMaker) -> None:
    """With a receiver that hangs, flush says no when its time is over."""
    exporter = ScriptedExporter()
    exporter.go_on.clear()
    queue, tracer = make_queue(exporter)
    tracer.start_span("waits").end()
    before = time.monotonic()
    assert not queue.flush(0.05)
    assert time.monotonic() - before < 2
    exporter.go_on.set()
    assert queue.flush(5)


def test_a_flush_does_not_wait_for_the_next_attempt() -> None:
    """After a failure the next attempt is due later; a flush tries at once."""
    answers = [Fate.UNREACHABLE]
    exporter = ScriptedExporter(lambda spans: Delivery(answers.pop() if answers else Fate.DELIVERED))
    queue = ExportQueue([exporter], interval_seconds=60, clock=FakeClock())
    queue.ended(finished_spans(1)[0])
    assert not queue.flush(0.1)
    assert exporter.calls == 1
    assert queue.flush(5)
    assert exporter.calls == 2
    assert queue.shutdown(5)


def test_what_a_hanging_export_answers_after_the_shutdown_changes_nothing() -> None:
    """Its spans have been counted as dropped; they are not counted again as failed or exported."""
    for fate in (Fate.UNREACHABLE, Fate.DELIVERED, Fate.INDIGESTIBLE):
        exporter = ScriptedExporter(lambda spans, fate=fate: Delivery(fate))  # type: ignore[misc] # bound early
        exporter.go_on.clear()
        queue = ExportQueue([exporter], interval_seconds=0.01)
        queue.ended(finished_spans(1)[0])
        assert exporter.entered.wait(5)
        assert not queue.shutdown(0.01)
        before = queue.health()
        exporter.go_on.set()
        assert queue._thread_ended.wait(5)
        assert queue.health() == before
        assert before.failures == 0


def test_a_flush_says_no_where_a_span_was_rejected(make_queue: QueueMaker) -> None:
    """Nothing waits any more, but not everything was delivered."""
    queue, tracer = make_queue(ScriptedExporter(lambda spans: Delivery(Fate.REFUSED, error="HTTP 401")))
    tracer.start_span("refused").end()
    assert not queue.flush(5)
    health = queue.health()
    assert (health.queued, health.dropped[DropCause.REJECTED], health.last_error) == (0, 1, "HTTP 401")


def test_a_shutdown_is_bounded_and_counts_what_is_left(make_queue: QueueMaker) -> None:
    """With a receiver that hangs, shutdown gives up in time; what hung is dropped and stays so."""
    exporter = ScriptedExporter()
    exporter.go_on.clear()
    queue, tracer = make_queue(exporter)
    tracer.start_span("waits").end()
    assert exporter.entered.wait(5)
    tracer.start_span("waits too").end()
    before = time.monotonic()
    assert not queue.shutdown(0.05)
    assert time.monotonic() - before < 2
    assert exporter.is_shut_down
    tracer.start_span("too late").end()
    exporter.go_on.set()
    health = queue.health()
    assert (health.queued, health.exported, health.dropped[DropCause.SHUTDOWN]) == (0, 0, 3)


def test_a_shutdown_delivers_what_waits(make_queue: QueueMaker) -> None:
    """Everything that ended before it arrives, and a second shutdown changes nothing."""
    exporter = ScriptedExporter()
    queue, tracer = make_queue(exporter, interval_seconds=60)
    tracer.start_span("last").end()
    assert queue.shutdown(5)
    assert queue.shutdown(5)
    assert exporter.names == ["last"]


def test_a_collected_generator_may_end_a_span_inside_the_queue(make_queue: QueueMaker) -> None:
    """The garbage collector ends spans wherever something allocates, also inside the queue's own code."""
    exporter = ScriptedExporter()
    queue, tracer = make_queue(exporter)

    class EndsWhenCollected:
        def __init__(self) -> None:
            self.span = tracer.start_span("collected")
            self.me = self

        def __del__(self) -> None:
            self.span.end()

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            EndsWhenCollected()
            queue.health()
            assert queue.flush(5)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert queue.flush(5)
    assert exporter.names == ["collected"] * 50


def test_a_fault_of_an_exporter_does_not_end_the_thread(make_queue: QueueMaker) -> None:
    """An exporter that raises loses the span it raised at; the next ones arrive."""

    def judge(spans: object) -> Delivery:
        if exporter.calls == 1:
            raise RuntimeError("broken")
        return Delivery(Fate.DELIVERED)

    exporter = ScriptedExporter(judge)
    queue, tracer = make_queue(exporter)
    tracer.start_span("lost").end()
    assert not queue.flush(5)
    tracer.start_span("arrives").end()
    assert queue.flush(5)
    assert exporter.names == ["arrives"]
    assert queue.health().last_error == "RuntimeError: broken"


def test_each_exporter_gets_every_span(make_queue: QueueMaker) -> None:
    """An exporter that nobody answers takes nothing away from the other one."""
    dead = ScriptedExporter(lambda spans: Delivery(Fate.UNREACHABLE))
    alive = ScriptedExporter()
    queue, tracer = make_queue(dead, alive)
    tracer.start_span("one").end()
    assert not queue.flush(0.2)
    assert alive.names == ["one"]


def test_a_forked_child_exports_nothing_of_its_parent_and_ends() -> None:
    """After a fork the child holds no spans, its own go nowhere, and neither shutdown nor its exit hangs."""
    program = textwrap.dedent(
        """
        import os, sys
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
        from ktrdr_otel.exporters.processor import ExportProcessor
        from ktrdr_otel.exporters.queue import ExportQueue

        class Printer(SpanExporter):
            def export(self, spans):
                for span in spans:
                    os.write(1, f"{os.getpid() == parent} {span.name}\\n".encode())
                return SpanExportResult.SUCCESS

            def shutdown(self):
                pass

        parent = os.getpid()
        queue = ExportQueue([Printer()], interval_seconds=60)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(ExportProcessor(queue))
        tracer = provider.get_tracer("tests")
        tracer.start_span("inherited").end()
        child = os.fork()
        if child == 0:
            tracer.start_span("child's").end()
            assert queue.health().queued == 0
            assert queue.shutdown(60)
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert queue.shutdown(5)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True inherited\n"


def test_ended_takes_no_lock_of_the_queue(make_queue: QueueMaker) -> None:
    """Spans end while every lock of the queue and its lanes is held by somebody else."""
    exporter = ScriptedExporter()
    queue, _ = make_queue(exporter)
    spans: list[ReadableSpan] = finished_spans(3)
    with queue._closing_lock, queue._refused._reading, queue._lanes[0]._lock:
        for span in spans:
            queue.ended(span)
    assert queue.flush(5)
    assert len(exporter.names) == 3


def test_a_queue_without_exporters_has_nothing_to_wait_for() -> None:
    """Flush and shutdown say yes at once."""
    queue = ExportQueue([], interval_seconds=60)
    queue.ended(finished_spans(1)[0])
    assert queue.flush(5)
    assert queue.shutdown(5)
