"""Pushes the metrics of this process's operations over OTLP/HTTP: a thread that reads them from the store."""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.metrics.otlp import OtlpFace
from ktrdr_otel.metrics.state import Health, MetricsState
from ktrdr_otel.operations.service import OperationsService

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

logger = logging.getLogger(__name__)

_PAGE: Final = 1000


class MetricsPush:
    """Operations of this process are pushed from their `begin` to their `end`; its thread lives as long as they do.

    What goes wrong is logged once per outage and counted; the observed program never meets it.
    """

    def __init__(
        self,
        service: OperationsService,
        resource: Resource,
        make_exporter: Callable[[], MetricExporter],
        interval_seconds: float,
        health: Health,
    ) -> None:
        self._service = service
        self._state = MetricsState()
        self._face = OtlpFace(self._state, resource, health)
        self._make_exporter = make_exporter
        self._exporter: MetricExporter | None = None
        self._interval_seconds = interval_seconds
        self._cursors: dict[str, int] = {}  # running operations -> the last step that was counted
        # Two locks: who begins an operation must not wait for a receiver, a store or a driver that does not answer.
        self._lock = threading.Lock()  # cursors and thread
        self._pushing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_failing = False
        self.failures = 0

    def begin(self, operation_id: str) -> None:
        """The operation is part of each push from now on."""
        with self._lock:
            self._cursors[operation_id] = 0
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="ktrdr-otel metrics", daemon=True
                )
                self._thread.start()

    def end(self, operation_id: str, timeout_seconds: float) -> None:
        """The end is pushed, within that time; the last operation takes the gauges with it."""
        pushing = threading.Thread(
            target=self._last_push, args=(operation_id,), name="ktrdr-otel last metrics", daemon=True
        )
        pushing.start()
        pushing.join(timeout_seconds)

    def forget_after_fork(self) -> None:
        """The child pushes nothing of its parent's."""
        self._lock = threading.Lock()
        self._pushing = threading.Lock()
        self._cursors.clear()
        self._thread = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval_seconds):
            with self._pushing:
                self._export(self._latest)

    def _last_push(self, operation_id: str) -> None:
        with self._pushing:
            self._export(self._latest)
            with self._lock:
                self._cursors.pop(operation_id, None)
                if self._cursors:
                    return
                self._stop.set()
                self._thread = None
            self._export(self._face.farewell)

    def _latest(self) -> MetricsData:
        try:
            self._look()
        except KtrdrOtelError as error:  # the writer has said already that its store is away
            logger.debug("metrics are pushed as they were: %s", error)
        return self._face.metrics()

    def _look(self) -> None:
        with self._lock:
            cursors = dict(self._cursors)
        for operation_id, cursor in cursors.items():
            operation = self._service.get(operation_id)
            while steps := self._service.steps(after=cursor, limit=_PAGE, operation_id=operation_id):
                cursor = self._cursors[operation_id] = steps[-1].sequence
                self._state.stored([operation], steps, cursor)
            self._state.stored([operation], [], cursor)
        self._state.sampled(self._service.latest_samples(cursors))

    def _export(self, make: Callable[[], MetricsData]) -> None:
        try:
            data = make()
            if self._exporter is None:
                self._exporter = self._make_exporter()
            delivered = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception:
            logger.debug("a push of metrics failed", exc_info=True)
            delivered = False
        if delivered:
            self._is_failing = False
            return
        self.failures += 1
        if not self._is_failing:
            self._is_failing = True
            logger.warning("metrics are not delivered; the run goes on, further failures are only counted")


def otlp_metric_exporter(url: str) -> MetricExporter:
    """Sends protobuf over HTTP, with the headers, TLS and timeout of `OTEL_EXPORTER_OTLP_*`."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    class EndMarkingExporter(OTLPMetricExporter):
        # The SDK's data has no place for OTLP's flag; without this hook a NaN would be sent, which draws nothing.
        def _export_batch(self, export_request: "ExportMetricsServiceRequest") -> MetricExportResult:
            mark_ends(export_request)
            return super()._export_batch(export_request)

    return EndMarkingExporter(endpoint=url)


def mark_ends(request: "ExportMetricsServiceRequest") -> None:
    """Points without a number say that their series has ended: Prometheus shows it as gone at once."""
    from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags

    for resource_metrics in request.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                for point in metric.gauge.data_points if metric.HasField("gauge") else ():
                    if point.as_double != point.as_double:
                        point.ClearField("as_double")
                        point.flags |= DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
