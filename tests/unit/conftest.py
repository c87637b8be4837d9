"""What unit tests share: an operation without a store, on a real provider."""

from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ktrdr_otel import context, semconv
from ktrdr_otel.bridge.processor import ProgressSpanProcessor
from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.context import ActiveOperation, Inbox


@dataclass
class Bench:
    """An operation whose root is open, its inbox unread."""

    active: ActiveOperation
    exporter: InMemorySpanExporter
    root: Checkpoint

    def spans(self) -> dict[str, ReadableSpan]:
        """The finished spans by name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def happenings(self) -> list[tuple[str, str]]:
        """What the inbox says, in order, without the root's own start."""
        told = []
        begun: set[Checkpoint] = {self.root}
        for entry in self.active.inbox:
            if not isinstance(entry, Checkpoint):
                told.append((entry[0].name, entry[1].name))
            elif entry is not self.root:
                told.append(("ENDED" if entry in begun else "STARTED", entry.name))
                begun.add(entry)
        return told


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An operation on a recording provider of its own."""
    yield from make_bench(TracerProvider(shutdown_on_exit=False))


def make_bench(provider: TracerProvider) -> Iterator[Bench]:
    """An operation on that provider, ended when the generator goes on."""
    inbox: Inbox = Inbox()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(ProgressSpanProcessor(inbox, SimpleQueue()))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    active = ActiveOperation("op-1", CancellationToken(), provider.get_tracer("test"), inbox)
    root = Checkpoint("operation", {semconv.OPERATION_TYPE: "test"})
    context.activate(active)
    root.enter_as_root(active)
    yield Bench(active, exporter, root)
    root.__exit__(None, None, None)
    context.deactivate(active)
