"""Which tracer provider an operation uses: the application's own, else a private one that exports."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import AlwaysRecordSampler, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ktrdr_otel import ids
from ktrdr_otel.exporters.endpoints import traces_url
from ktrdr_otel.exporters.environment import (
    exporters_from_environment,
    queue_limits_from_environment,
    sdk_disabled,
)
from ktrdr_otel.exporters.fanout import FixedFanout
from ktrdr_otel.exporters.lean import lean
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.otlp import OtlpHttpExporter
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.queue import ExportQueue
from ktrdr_otel.exporters.trace_file import trace_file_exporter
from ktrdr_otel.semconv import SCOPE_NAME

logger = logging.getLogger(__name__)

DEFAULT_SERVICE_NAME = "ktrdr-otel"


@dataclass(frozen=True, slots=True)
class PinnedProvider:
    """The provider of one operation, for as long as that runs."""

    provider: trace.TracerProvider
    tracer: trace.Tracer
    is_private: bool
    queue: ExportQueue | None  # where a private provider exports anything
    description: str  # for people: whose it is and where its spans go, without anything secret

    def flush(self, timeout_seconds: float) -> bool:
        """Whether all finished spans were delivered within the time."""
        if self.queue is not None:
            return self.queue.flush(timeout_seconds)
        if self.is_private or not isinstance(self.provider, TracerProvider):
            return True
        return _flush_in_time(self.provider, timeout_seconds)

    def shutdown(self, timeout_seconds: float) -> bool:
        """A private provider exports no more, having delivered what it could; an application's is flushed."""
        if self.queue is not None:
            return self.queue.shutdown(timeout_seconds)
        return self.flush(timeout_seconds)


def choose_provider(
    *,
    processors: Sequence[SpanProcessor] = (),
    otlp_endpoint: str | None = None,
    trace_file: Path | None = None,
    exporters: Sequence[SpanExporter] = (),
    live: LiveMode = LiveMode.OFF,
) -> PinnedProvider:
    """The provider for an operation that begins now; `processors` see its spans from now on.

    The application's, if it has installed an SDK provider: then its pipeline alone exports, and the other
    arguments are not used, which is logged. Else a private one, which exports to `otlp_endpoint` (OTLP/HTTP
    base URL) or as `OTEL_*` says, to `trace_file` and to `exporters`, and shows open spans as `live` says. Raises
    `SettingsError` for what cannot be used.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider) and not sdk_disabled():
        for processor in processors:
            attach_processor(provider, processor)
        if otlp_endpoint is not None or trace_file is not None:
            logger.warning(
                "the application has configured OpenTelemetry and exports by itself: "
                "the OTLP endpoint and trace file of this operation are not used"
            )
        described = "the application's provider, which exports by itself"
        return PinnedProvider(provider, _tracer(provider), False, None, described)
    return private_provider(
        processors=processors,
        otlp_endpoint=otlp_endpoint,
        trace_file=trace_file,
        exporters=exporters,
        live=live,
    )


def private_provider(
    *,
    processors: Sequence[SpanProcessor] = (),
    otlp_endpoint: str | None = None,
    trace_file: Path | None = None,
    exporters: Sequence[SpanExporter] = (),
    live: LiveMode = LiveMode.OFF,
) -> PinnedProvider:
    """A provider of our own: standard resource, limits and sampler, but every span is recorded.

    The global provider is left alone and nothing is registered for the interpreter's exit.
    """
    chosen = [] if sdk_disabled() else [*_exporters(otlp_endpoint, trace_file), *exporters]
    queue = None
    if chosen:
        room = queue_limits_from_environment()
        queue = ExportQueue(
            chosen,
            live=live,
            max_queue=room.max_queue,
            max_batch=room.max_batch,
            interval_seconds=room.interval_seconds,
        )
    exporting = [] if queue is None else [ExportProcessor(queue)]
    # The exporting one first: the others are told a span that knows its place in the queue.
    provider, tracer = recording([*exporting, *processors])
    targets = [getattr(exporter, "target", type(exporter).__name__) for exporter in chosen]
    described = "a private provider, " + (" and ".join(targets) if targets else "which exports nothing")
    if queue is not None and live is not LiveMode.OFF:
        described += f", open spans: {live}"
    return PinnedProvider(provider, tracer, True, queue, described)


def recording(processors: Sequence[SpanProcessor]) -> tuple[TracerProvider, trace.Tracer]:
    """A provider whose spans all reach the processors, and the tracer of our own spans."""
    limits = SpanLimits()
    provider = TracerProvider(
        sampler=AlwaysRecordSampler(_standard_sampler()),
        resource=standard_resource(),
        id_generator=PrivateIds(),
        active_span_processor=FixedFanout(processors),
        span_limits=limits,
        shutdown_on_exit=False,
    )
    tracer = _tracer(provider)
    if isinstance(tracer, Tracer):
        tracer = lean(tracer, limits=limits, scope=InstrumentationScope(SCOPE_NAME, _own_version()))
    return provider, tracer


class PrivateIds(IdGenerator):
    """Ids that leave the observed program's own random numbers as they are."""

    def generate_span_id(self) -> int:
        """A fresh 64-bit id."""
        return ids.new_span_id()

    def generate_trace_id(self) -> int:
        """A fresh 128-bit id."""
        return ids.new_trace_id()


def standard_resource() -> Resource:
    """The resource by the SDK's rules, named `ktrdr-otel` where nobody has named it."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: DEFAULT_SERVICE_NAME}))
    return resource


def attach_processor(provider: TracerProvider, processor: SpanProcessor) -> bool:
    """The processor sees the provider's spans, once however often it is attached; whether it was new to it.

    A provider's `shutdown` does not take it off: the SDK goes on calling processors, so progress goes on.
    """
    with _attaching:
        known = _attached.setdefault(provider, WeakSet())
        if processor in known:
            return False
        known.add(processor)
    provider.add_span_processor(processor)
    return True


_attaching = threading.Lock()
_attached: "WeakKeyDictionary[TracerProvider, WeakSet[SpanProcessor]]" = WeakKeyDictionary()


def _exporters(otlp_endpoint: str | None, trace_file: Path | None) -> list[SpanExporter]:
    exporters: list[SpanExporter] = (
        exporters_from_environment()
        if otlp_endpoint is None
        else [OtlpHttpExporter(traces_url(otlp_endpoint))]
    )
    if trace_file is not None:
        # Made last, so that no file is left behind by settings that cannot be used; served first, so that a
        # receiver that hangs does not keep it waiting.
        exporters.insert(0, trace_file_exporter(trace_file))
    return exporters


def _standard_sampler() -> Sampler:
    # What OTEL_TRACES_SAMPLER names, or the default; the SDK tells it only through a provider.
    return TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False).sampler


def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    return provider.get_tracer(SCOPE_NAME, _own_version())


def _own_version() -> str:
    try:
        return version("ktrdr-otel")
    except PackageNotFoundError:  # run from a source tree
        return ""


def _flush_in_time(provider: TracerProvider, timeout_seconds: float) -> bool:
    # The SDK's batch processor does not keep to the time that it is given.
    answers: list[bool] = []

    def flush() -> None:
        answers.append(provider.force_flush(int(timeout_seconds * 1000)))

    thread = threading.Thread(target=flush, name="ktrdr-otel-flush", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return bool(answers) and answers[0]
