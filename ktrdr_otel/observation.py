"""What `observe` hands out: the handle of a running operation, and how it ends."""

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ktrdr_otel import context, faults, overhead, semconv
from ktrdr_otel.bridge.live import LiveOperation
from ktrdr_otel.bridge.log_capture import LogCapture
from ktrdr_otel.bridge.pump import Pump
from ktrdr_otel.bridge.report import Report
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.clock import Clock, utc_from_ns
from ktrdr_otel.context import ActiveOperation
from ktrdr_otel.display import Display
from ktrdr_otel.errors import CancellationError, message_of
from ktrdr_otel.exporters.providers import PinnedProvider
from ktrdr_otel.exporters.queue import ExportQueue
from ktrdr_otel.operations.models import Ending, OperationError, OperationStatus
from ktrdr_otel.operations.post_mortem import traceback_of
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.own_health import OwnHealth
from ktrdr_otel.watcher.starter import Watch

if TYPE_CHECKING:
    from ktrdr_otel.metrics.push import MetricsPush

logger = logging.getLogger(__name__)

_LEAST_SECONDS = 0.5  # for each of the receivers, also where one before it took all the time there was
_CANCELLATIONS = (CancellationError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)


class Observation:
    """A running operation: ask it where it is, ask it to stop.

    `operation_id` names it everywhere; `trace_id` is 32 hex digits.
    """

    def __init__(
        self,
        *,
        active: ActiveOperation,
        root: Checkpoint,
        live: LiveOperation,
        pump: Pump,
        service: OperationsService,
        provider: PinnedProvider,
        ledger: ExportQueue | None,
        display: Display | None,
        watch: Watch | None,
        log_capture: LogCapture | None,
        metrics_push: "MetricsPush | None",
        own_health: OwnHealth,
        clock: Clock,
        shutdown_timeout_seconds: float,
    ) -> None:
        self.active = active
        self.operation_id = active.operation_id
        self.trace_id = f"{root.identity().trace_id:032x}"
        self._root = root
        self._live = live
        self._pump = pump
        self._service = service
        self._provider = provider
        self._ledger = ledger  # through which its trace is exported, where others could complete it
        self._display = display
        self._watch = watch
        self._log_capture = log_capture
        self._metrics_push = metrics_push
        self._own_health = own_health
        self._clock = clock
        self._shutdown_timeout_seconds = shutdown_timeout_seconds
        self._generation = context.fork_generation()
        self._began_ns = clock.monotonic_ns()
        self._ending = threading.Lock()  # taken for good by whoever ends it
        self._has_ended = threading.Event()
        _open.add(self)

    def status(self) -> dict[str, Any]:
        """Where the operation is right now, with all that has happened before the call.

        The keys: `operation_id operation_type name status phase percentage message context timestamp trace_id
        items_completed items_planned estimated_remaining_seconds`.
        """
        self._pump.drain()
        return self._live.status()

    def flush(self) -> bool:
        """Whether all that has happened before the call is stored, and its spans delivered."""
        self._pump.drain()
        stored = self._service.flush()
        return self._provider.flush(self._shutdown_timeout_seconds) and stored

    def cancel(self, reason: str = "Operation cancelled") -> None:
        """The operation stops at its next checkpoint or tick."""
        self.active.token.cancel(reason)

    def forgo(self, progress_type: str) -> None:
        """What is left of that type will not come: an early stop takes it out of the plan."""
        self._pump.drain()
        self._live.forgo(progress_type)

    def report(self) -> Report:
        """What was reported so far: units against the plan, silence, time per phase."""
        self._pump.drain()
        return self._live.report()

    def last_message(self) -> str:
        """The words for where the operation is."""
        self._pump.drain()
        return self._live.progress().message

    def failed_at(self) -> str | None:
        """The words for the unit that failed first; None while none has."""
        self._pump.drain()
        return self._live.failed_at()

    def elapsed_seconds(self) -> float:
        """How long the operation has been running."""
        return (self._clock.monotonic_ns() - self._began_ns) / 1e9

    def store(self) -> str:
        """Where its record is."""
        return self._service.describe()

    def overhead_seconds(self) -> float | None:
        """What observing has cost so far, in seconds of CPU: our threads, and the checkpoints themselves.

        None where the platform does not account for threads.
        """
        threads = overhead.thread_seconds()
        if threads is None:
            return None
        each = overhead.checkpoint_seconds(is_private=self._provider.is_private)
        return threads + self.report().checkpoints * each

    def end(self, error: BaseException | None, traceback: TracebackType | None) -> None:
        """The operation has ended, by `error` or well: its span, record and listeners know. Never raises.

        A store or receivers that hang are waited for no longer than the shutdown timeout, and a moment for each. Only
        the first call counts.
        """
        if self._generation != context.fork_generation() or not self._ending.acquire(blocking=False):
            return
        try:
            self._end(error, traceback, time.monotonic() + self._shutdown_timeout_seconds)
        finally:
            _open.discard(self)
            self._has_ended.set()

    def end_at_exit(self) -> None:
        """It has ended, as one that its program has left open; if another thread is just ending it that is awaited."""
        if self._generation == context.fork_generation():
            self.end(CancellationError("its program ended before it did"), None)
            self._has_ended.wait(self._shutdown_timeout_seconds)

    def _end(self, error: BaseException | None, traceback: TracebackType | None, deadline: float) -> None:
        status = status_of(error)
        with _contained("the last progress"):
            self._pump.drain()
        with _contained("where it was in the end"):
            self._describe(status)
        with _contained("the root span"):
            self._root.__exit__(None if error is None else type(error), error, traceback)
        with _contained("the end of the root span"):
            self._pump.drain()
        with _contained("the end of the operation"):
            self._finish(status, error)
        with _contained("that the operation runs no more"):
            context.deactivate(self.active)
        if self._log_capture is not None:
            with _contained("the end of its log"):
                self._log_capture.end()
        if self._watch is not None:
            with _contained("the end to its watcher"):
                self._watch.end()
        with _contained("the end of its progress"):
            self._pump.remove(self._live)
        with _contained("the last spans"):
            self._send_the_last_spans(deadline)
        if self._metrics_push is not None:  # after the spans: what was dropped of them at the end is told
            with _contained("the last metrics"):
                self._metrics_push.end(self.operation_id, _left(deadline))
        if self._display is not None:
            with _contained("the end of the display"):
                self._display.close()

    def _send_the_last_spans(self, deadline: float) -> None:
        complete = self._provider.shutdown(_left(deadline))
        queue = self._provider.queue
        if queue is not None:
            self._own_health.exported(queue)
        if self._ledger is not None:
            # An application's processor goes on sending what waits there: that is nobody else's to send.
            self._settle_trace(self._ledger, deadline, is_complete=complete or queue is None)

    def _settle_trace(self, ledger: ExportQueue, deadline: float, *, is_complete: bool) -> None:
        """In time: a store that hangs must not keep the program from ending."""
        settling = threading.Thread(
            target=self._store_trace, args=(ledger, is_complete), name="ktrdr-otel last trace", daemon=True
        )
        settling.start()
        settling.join(_left(deadline))
        if settling.is_alive():
            logger.warning(
                "whether the trace of operation %s is complete is not stored yet", self.operation_id
            )

    def _store_trace(self, ledger: ExportQueue, is_complete: bool) -> None:
        with _contained("whether its trace is complete"):
            if is_complete:
                self._service.traces.complete(self.operation_id)
            else:
                self._service.traces.leave(self.operation_id, ledger)

    def _describe(self, status: OperationStatus) -> None:
        progress = self._live.progress()
        done = status is OperationStatus.COMPLETED
        self._root.span.set_attributes(
            {
                semconv.OPERATION_STATUS: status.value,
                semconv.PROGRESS_RATIO: 1.0 if done else progress.percentage / 100,
                semconv.PROGRESS_MESSAGE: progress.message,
            }
        )

    def _finish(self, status: OperationStatus, error: BaseException | None) -> None:
        facts = None
        if status is OperationStatus.FAILED and error is not None:
            facts = OperationError(
                type=type(error).__qualname__,
                message=message_of(error),
                step=self._live.failed_at(),
                traceback=traceback_of(error),
            )
        with _contained("the last state"):  # by itself: a listener must not keep the end from being stored
            self._live.finish(status, facts)
        ending = Ending(
            status=status,
            ended_at=utc_from_ns(self._clock.wall_ns()),
            progress=self._live.progress(),
            error=facts,
            reason=self._reason(error) if status is OperationStatus.CANCELLED else None,
        )
        if not self._service.end(self.operation_id, ending):
            logger.warning(
                "the end of operation %s (%s) could not be stored", self.operation_id, status.value
            )

    def _reason(self, error: BaseException | None) -> str | None:
        """Why it was cancelled, if anybody has said it."""
        said = message_of(error) if isinstance(error, CancellationError) else None
        return self.active.token.reason or said or None


_open: set[Observation] = set()


@atexit.register
def _end_what_is_open() -> None:
    """The program exits, and has left operations open: in threads that nobody waits for, or without a `with`."""
    for observation in list(_open):
        observation.end_at_exit()


def _left(deadline: float) -> float:
    return max(_LEAST_SECONDS, deadline - time.monotonic())


def status_of(error: BaseException | None) -> OperationStatus:
    """How an operation that `error` has left ended."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return OperationStatus.COMPLETED
    if isinstance(error, _CANCELLATIONS):
        return OperationStatus.CANCELLED
    return OperationStatus.FAILED


@contextlib.contextmanager
def _contained(what: str) -> Iterator[None]:
    """Faults of observing are said in the log and do not reach the observed program."""
    try:
        yield
    except Exception:
        faults.report(logger, "%s could not be reported", what)
