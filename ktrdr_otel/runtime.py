"""What a process that observes has one of, whatever number of operations it observes."""

import logging
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ktrdr_otel import context
from ktrdr_otel.bridge.log_capture import LogCapture
from ktrdr_otel.bridge.processor import ProgressSpanProcessor
from ktrdr_otel.bridge.pump import Pump
from ktrdr_otel.clock import SystemClock
from ktrdr_otel.context import Inbox
from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.exporters.providers import standard_resource
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.environment import push_interval_seconds, push_url_from_environment
from ktrdr_otel.metrics.health import store_points
from ktrdr_otel.metrics.state import Point
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.own_health import OwnHealth
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from ktrdr_otel.watcher.starter import Watch, can_watch

if TYPE_CHECKING:
    from ktrdr_otel.metrics.push import MetricsPush

logger = logging.getLogger(__name__)

_IN_MEMORY = "sqlite:///:memory:"


class Runtime:
    """What a process that observes has one of: inbox, span processor, pump, and a service per store."""

    def __init__(self, settings: Settings) -> None:
        self.clock = SystemClock()
        self.inbox: Inbox = Inbox()
        wake: SimpleQueue[None] = SimpleQueue()
        self.processor = ProgressSpanProcessor(self.inbox, wake)
        self.pump = Pump(self.inbox, wake, interval_seconds=settings.poll_interval_seconds)
        self.log_capture = LogCapture()
        self._services: dict[str, OperationsService] = {}
        self._lock = threading.Lock()
        self._watches: dict[str, Watch] = {}
        self._pushes: dict[tuple[OperationsService, str], MetricsPush] = {}
        self.pulse: Pulse | None = None
        self.health = OwnHealth(self.inbox, self.processor, self.pump)

    def service(self, settings: Settings) -> OperationsService:
        """The service of the settings' store, opened once; in memory where that store cannot be opened."""
        with self._lock:
            service = self._services.get(settings.database_url)
            if service is None:
                try:
                    service = open_service(settings)
                except StoreUnavailableError as error:
                    return self.service_without_record(settings, error)
                self._services[settings.database_url] = service
            return service

    @staticmethod
    def service_without_record(settings: Settings, why: Exception) -> OperationsService:
        """A service that keeps a run in memory, because its store cannot be used, which is said in the log."""
        logger.warning("%s; this run is observed, but leaves no record", why)
        return open_service(settings.model_copy(update={"database": _IN_MEMORY}))

    def watch(self, settings: Settings, service: OperationsService) -> Watch | None:
        """What starts the watcher of operations in that store; None where there cannot be one, or should not."""
        if settings.watcher == "off" or not can_watch() or service.is_in_memory:
            return None
        with self._lock:
            if self.pulse is None:
                self.pulse = Pulse.create()
            watch = self._watches.get(settings.database_url)
            if watch is None:
                watch = self._watches[settings.database_url] = Watch(self.pulse)
                watch.on_start = self._publish
            return watch

    def metrics_push(self, service: OperationsService) -> "MetricsPush | None":
        """What pushes the metrics of operations in that store; None where nobody asks for it.

        Raises `SettingsError`.
        """
        url = push_url_from_environment()
        if url is None:
            return None
        # Not before somebody wants it: the SDK's metrics take as long to import as everything else here.
        from ktrdr_otel.metrics.push import MetricsPush, otlp_metric_exporter

        interval_seconds = push_interval_seconds()
        with self._lock:
            push = self._pushes.get((service, url))
            if push is None:
                push = self._pushes[service, url] = MetricsPush(
                    service,
                    standard_resource(),
                    partial(otlp_metric_exporter, url),
                    interval_seconds,
                    lambda: [*store_points(service), *self.own_points()],
                )
            return push

    def own_points(self) -> list[Point]:
        """The plugin's own numbers in this process; of pushes where it pushes."""
        points = self.health.points()
        pushes = list(self._pushes.values())
        if pushes:
            failures = sum(push.failures for push in pushes)
            points.append((instruments.PUSH_FAILURES, (), float(failures)))
        return points

    def _publish(self) -> None:
        self.processor.pulse = self.pulse

    def forget_after_fork(self) -> None:
        """The child shares no thread, no lock and no connection with its parent."""
        self._lock = threading.Lock()
        self.pump.forget_after_fork()
        self.log_capture.forget_after_fork()
        self.health.forget_after_fork()
        for watch in self._watches.values():
            watch.forget_after_fork()
        self._watches.clear()
        for push in self._pushes.values():
            push.forget_after_fork()
        self._pushes.clear()
        self.processor.pulse = self.pulse = None
        for service in self._services.values():
            service.forget_after_fork()
        self._services.clear()


_runtime: Runtime | None = None
_runtime_lock = threading.Lock()


def runtime(settings: Settings) -> Runtime:
    """The process's runtime, made at the first operation."""
    global _runtime
    with _runtime_lock:
        if _runtime is None:
            _runtime = Runtime(settings)
            context.when_forked(_runtime.forget_after_fork)
        return _runtime


def open_service(settings: Settings) -> OperationsService:
    """A service on the settings' store; raises `StoreUnavailableError`. It starts no thread before it must."""
    return OperationsService(open_store(settings), settings, SystemClock())
