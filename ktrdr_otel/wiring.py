"""Who knows whom: the one module that puts the parts together; only entry points import it."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel import beside, context, semconv
from ktrdr_otel.bridge.live import Listener, LiveOperation
from ktrdr_otel.bridge.units import progress_attributes
from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.clock import SystemClock, utc_from_ns
from ktrdr_otel.context import ActiveOperation
from ktrdr_otel.display import choose_display
from ktrdr_otel.errors import (
    OperationExistsError,
    SettingsError,
    message_of,
)
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.providers import choose_provider
from ktrdr_otel.exporters.queue import ExportQueue, queue_that_knows
from ktrdr_otel.exporters.receivers import environment_for, receiver_of, trace_export
from ktrdr_otel.ids import check_operation_id
from ktrdr_otel.notify import check_notify
from ktrdr_otel.observation import Observation
from ktrdr_otel.operations.allowances import Allowances
from ktrdr_otel.operations.models import Ending, NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.stack import py_spy
from ktrdr_otel.operations.trace_export import TraceExport
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.plan import Plan
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.runtime import Runtime, runtime
from ktrdr_otel.settings import Settings

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)

_NOWHERE = Progress(
    phase=None,
    percentage=0.0,
    message="",
    context={},
    last_progress_at=None,
    items_completed=0,
    items_planned=None,
    estimated_remaining_seconds=None,
)


def _watch_config(
    settings: Settings,
    service: OperationsService,
    allowances: Allowances,
    pulse: Pulse,
    queue: ExportQueue | None,
) -> dict[str, Any]:
    worker = this_worker()
    return {
        **service.watching(),
        "pid": worker.pid,
        "started_ticks": worker.pid_started_ticks,
        "boot_id": worker.boot_id,
        "pulse": pulse.path,
        "heartbeat_seconds": settings.heartbeat_interval_seconds,
        "unknown_seconds": settings.stall_unknown_seconds,
        "allowances": [[kind, *allowances.of(kind)] for kind in allowances.p99_seconds],
        "py_spy": py_spy(),
        "site_packages": [path for path in sys.path if path],
        "closing": None if queue is None else _closing_config(settings, queue),
    }


def _closing_config(settings: Settings, queue: ExportQueue) -> dict[str, Any] | None:
    """What it takes to complete this process's traces with the credentials that it sends them with."""
    for exporter in queue.exporters:
        if receiver_of(exporter) is not None:
            environment = environment_for(exporter)
            here = str(Path(__file__).parent.parent)
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
            told = {"database": settings.database_url}
            return {"python": sys.executable, "environment": environment, "told": told}
    return None


@contextmanager
def serving(settings: Settings, *, host: str | None, port: int | None) -> Iterator[str]:
    """The store of the settings is served, at the URL, while the block runs.

    Raises `SettingsError`, also where the extra `server` is not installed.
    """
    try:
        from ktrdr_otel.server.run import Server
        from ktrdr_otel.server.settings import load_server_settings
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"serving needs {error.name}, which is not installed; pip install 'ktrdr-otel[server]'"
        ) from error
    # The very service that operations of this process write to: their state is told before it is stored.
    run = runtime(settings)
    server = Server(run.service(settings), load_server_settings(host=host, port=port), run.own_points)
    with server.beside():
        yield server.url


def begin(
    settings: Settings,
    *,
    name: str,
    operation_type: str,
    operation_id: str,
    plan: Plan | None,
    token: CancellationToken,
    otlp_endpoint: str | None,
    trace_file: Path | None,
    exporters: Sequence[SpanExporter],
    listeners: Iterable[Listener],
) -> Observation:
    """The operation runs: its root span is open, its record stored, its progress read.

    Raises `OperationExistsError` and `SettingsError`.
    """
    check_operation_id(operation_id)
    if settings.notify is not None:
        check_notify(settings.notify.get_secret_value())
    run = runtime(settings)
    service = run.service(settings)
    metrics_push = run.metrics_push(service)
    pinned = choose_provider(
        processors=[run.processor],
        otlp_endpoint=otlp_endpoint,
        trace_file=trace_file,
        exporters=exporters,
        live=LiveMode(settings.live),
    )
    with ExitStack() as undo:  # whatever fails from here on leaves nothing behind that still runs
        undo.callback(pinned.shutdown, 0)
        active = ActiveOperation(operation_id, token, pinned.tracer, run.inbox, drain=run.pump.drain)
        root = Checkpoint(
            semconv.OPERATION_SPAN,
            {semconv.OPERATION_TYPE: operation_type, semconv.OPERATION_NAME: name},
        )
        context.activate(active)
        undo.callback(context.deactivate, active)
        root.enter_as_root(active)
        undo.callback(root.withdraw)
        identity = root.identity()
        queue = pinned.queue or queue_that_knows(identity.span_id)
        if queue is not None:
            undo.callback(queue.withdraw, identity.span_id)
        new = NewOperation(
            operation_id=operation_id,
            operation_type=operation_type,
            name=name,
            started_at=utc_from_ns(run.clock.wall_ns()),
            # Where its spans are not sampled nobody exports them: then no trace is to be found under that id.
            trace_id=f"{identity.trace_id:032x}" if identity.trace_flags.sampled else None,
            span_id=f"{identity.span_id:016x}",
            worker=this_worker(),
            lease_seconds=settings.lease_seconds,
            planned_units=None if plan is None else plan.planned,
            trace_export=None if queue is None else _trace_export(queue, root),
        )
        begun = _begin_record(run, settings, service, new, active, queue)
        if begun is not service:
            service, metrics_push = begun, run.metrics_push(begun)
        undo.push(partial(_end_unbegun, service, operation_id))
        _start_notifying(settings, operation_id)
        display = choose_display(settings.display)
        if display is not None:
            undo.callback(display.close)
        allowances = service.allowances()
        watch = run.watch(settings, service)
        live = LiveOperation(
            new,
            active=active,
            plan=plan,
            service=service,
            listeners=[*listeners, *([] if display is None else [display])],
            clock=run.clock,
            allowances=allowances,
            pulse=None if watch is None else run.pulse,
        )
        if queue is not None:
            queue.tell_progress(identity.span_id, lambda: progress_attributes(live.told))
        undo.callback(run.pump.remove, live)
        run.pump.add(live)
        if settings.logs == "on":
            undo.callback(run.log_capture.end)
            run.log_capture.begin()
        if watch is not None and run.pulse is not None:
            undo.callback(watch.end)
            watch.begin(partial(_watch_config, settings, service, allowances, run.pulse, queue))
        if metrics_push is not None:
            undo.callback(metrics_push.end, operation_id, 0)
            metrics_push.begin(operation_id)
        if queue is not None:
            run.health.exports(queue)
        undo.pop_all()
    return Observation(
        active=active,
        root=root,
        live=live,
        pump=run.pump,
        service=service,
        provider=pinned,
        ledger=None if new.trace_export is None else queue,
        display=display,
        watch=watch,
        log_capture=run.log_capture if settings.logs == "on" else None,
        metrics_push=metrics_push,
        own_health=run.health,
        clock=run.clock,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
    )


def _start_notifying(settings: Settings, operation_id: str) -> None:
    if settings.notify is None:
        return
    config = {
        "database": settings.database_url,
        "operation_id": operation_id,
        "urls": settings.notify.get_secret_value(),
    }
    beside.start("ktrdr_otel.notifying", config)


def _trace_export(queue: ExportQueue, root: Checkpoint) -> TraceExport | None:
    """How its trace is exported; a fault means that nobody else could complete it, and is said."""
    try:
        return trace_export(queue.exporters, queue.live, root.span)
    except Exception as error:
        logger.warning(
            "nobody will complete the trace if this process dies: %s: %s", type(error).__name__, error
        )
        return None


def _begin_record(
    run: Runtime,
    settings: Settings,
    service: OperationsService,
    new: NewOperation,
    active: ActiveOperation,
    queue: ExportQueue | None,
) -> OperationsService:
    """The service that has stored the operation: the given one, or one in memory where its store fails just now.

    Raises `OperationExistsError`.
    """
    ledger = None if new.trace_export is None else queue
    try:
        service.begin(new, active.token.cancel, logs=active.logs, ledger=ledger)
    except OperationExistsError:
        raise
    except Exception as error:
        service = run.service_without_record(settings, error)
        service.begin(new, active.token.cancel, logs=active.logs, ledger=ledger)
    return service


def _end_unbegun(
    service: OperationsService,
    operation_id: str,
    _kind: type[BaseException] | None,
    error: BaseException | None,
    _traceback: TracebackType | None,
) -> None:
    """An operation that is stored, and could not be begun after all, has failed."""
    assert error is not None
    ending = Ending(
        status=OperationStatus.FAILED,
        ended_at=utc_from_ns(SystemClock().wall_ns()),
        progress=_NOWHERE,
        error=OperationError(type=type(error).__qualname__, message=message_of(error), step=None),
    )
    if not service.end(operation_id, ending):
        logger.warning("the end of operation %s, which did not begin, could not be stored", operation_id)
