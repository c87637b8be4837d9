"""The one exporter thread: starts and ends come in through one deque, batches leave, their results are read.

No `BatchSpanProcessor`: it drops the oldest, ignores what an export returns and knows no starts.
"""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel.clock import Clock, SystemClock
from ktrdr_otel.context import when_forked
from ktrdr_otel.exporters.lane import DropCause, Lane

logger = logging.getLogger(__name__)

DEFAULT_MAX_QUEUE = 8192
DEFAULT_MAX_BATCH = 512
DEFAULT_INTERVAL_SECONDS = 1.0
_GRACE_SECONDS = 0.05  # for a thread that only has to wake up


@dataclass(frozen=True, slots=True)
class ExportHealth:
    """How the export fares; with several exporters a span counts once for each."""

    queued: int
    open_spans: int
    exported: int
    dropped: Mapping[DropCause, int]
    failures: int  # exports that did not deliver all they were given
    last_error: str | None


class _Tally:
    """Counts from any thread without a lock; `add` is one atomic C call."""

    def __init__(self) -> None:
        self._count = count()
        self.add = self._count.__next__
        self._reads = 0
        self._reading = threading.Lock()

    @property
    def value(self) -> int:
        with self._reading:
            value = next(self._count) - self._reads
            self._reads += 1
        return value


class _Mark:
    """A place in the queue at which somebody waits for everything before it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.complete = False
        self.owed: list[tuple[int, int]] = []  # per lane: settled when all before has left, dropped so far


# A start wraps its span; an end is the span itself: a tuple more for each is the garbage collector's work.
_Entry = tuple[Span] | ReadableSpan | _Mark


class ExportQueue:
    """Finished spans on their way to the exporters, in order, with bounded memory.

    `started` and `ended` may be called in any thread and at any moment, also by the garbage collector inside
    this class: they only append to a deque and wake the thread through a reentrant C queue. `max_queue` spans
    wait for each exporter at most, and twice as many starts and ends for being sorted while an export is on.
    Open spans are known only with `track_open`: to keep them costs each span about as much as its export.
    A receiver that cannot be reached is tried again, after 0.5 s at first and every 30 s in the end.
    """

    def __init__(
        self,
        exporters: Sequence[SpanExporter],
        *,
        max_queue: int = DEFAULT_MAX_QUEUE,
        max_batch: int = DEFAULT_MAX_BATCH,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        track_open: bool = False,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._lanes = [
            Lane(exporter, max_queue=max_queue, max_batch=max_batch, clock=clock) for exporter in exporters
        ]
        self._interval_seconds = interval_seconds
        self._limit = 2 * max_queue
        self._max_batch = max_batch
        self._track_open = track_open
        self._inbox: deque[_Entry] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._open: dict[int, Span] = {}
        self._marks: deque[_Mark] = deque()
        self._refused = _Tally()
        self._refused_after_end = _Tally()
        self._refusals_seen = 0
        self._faults = 0
        self._closing = False
        self._thread_ended = threading.Event()
        self._closing_lock = threading.Lock()
        _queues.add(self)
        self._thread = threading.Thread(target=self._run, name="ktrdr-otel-export", daemon=True)
        self._thread.start()

    def started(self, span: Span) -> None:
        """The exporter thread will know of the span while it is open, if it tracks that and there is room."""
        if not self._track_open:
            return
        context = span.context
        if context is None or not context.trace_flags & 1:
            return
        inbox = self._inbox
        waiting = len(inbox)
        if waiting < self._limit:
            inbox.append((span,))
            # Here too: where starts and ends alternate, one of the two never meets this length.
            if waiting == self._max_batch:
                self._wake.put(None)

    def ended(self, span: ReadableSpan) -> None:
        """The span will be exported if it is sampled; counted as dropped where there is no room for it."""
        context = span.context
        # Never the truth of the flags: an unsampled span can carry the random-trace-id flag, 2.
        if context is None or not context.trace_flags & 1:
            return
        inbox = self._inbox
        waiting = len(inbox)
        if waiting < self._limit:
            inbox.append(span)
            if waiting == self._max_batch:
                self._wake.put(None)
        elif self._closing:
            self._refused_after_end.add()
        else:
            self._refused.add()

    def flush(self, timeout_seconds: float) -> bool:
        """Whether all that waited at the call was delivered to every exporter within the time."""
        if self._closing:
            return not self._waiting()
        mark = _Mark()
        self._inbox.append(mark)
        self._wake.put(None)
        return mark.reached.wait(timeout_seconds) and mark.complete

    def shutdown(self, timeout_seconds: float) -> bool:
        """The thread has ended, or is left alone after the time; what still waits is counted as dropped.

        Whether everything was delivered. A second call changes nothing.
        """
        with self._closing_lock:
            if self._closing:
                return not self._waiting()
            deadline = time.monotonic() + timeout_seconds
            complete = self.flush(timeout_seconds)
            self._closing = True
            self._limit = 0
        self._wake.put(None)
        # A thread that hangs in an export is left behind: a daemon, whose doings a closed lane ignores.
        self._thread_ended.wait(max(_GRACE_SECONDS, deadline - time.monotonic()))
        for lane in self._lanes:
            lane.close()
        self._sort()
        for lane in self._lanes:
            _close_exporter(lane)
        return complete

    def health(self) -> ExportHealth:
        """How the export fares at this moment."""
        dropped = {cause: sum(lane.dropped[cause] for lane in self._lanes) for cause in DropCause}
        dropped[DropCause.QUEUE_FULL] += self._refused.value * len(self._lanes)
        dropped[DropCause.SHUTDOWN] += self._refused_after_end.value * len(self._lanes)
        errors = [lane.last_error for lane in self._lanes if lane.last_error]
        return ExportHealth(
            queued=self._waiting(),
            open_spans=len(self._open),
            exported=sum(lane.exported for lane in self._lanes),
            dropped=dropped,
            failures=sum(lane.failures for lane in self._lanes),
            last_error=errors[-1] if errors else None,
        )

    def forget_after_fork(self) -> None:
        """In a forked child: the queue is closed and empty; what it held is the parent's to export."""
        self._limit = 0
        self._closing = True
        self._inbox = deque()
        self._wake = SimpleQueue()
        self._open = {}
        self._marks = deque()
        # Another thread of the parent may have held a lock at the fork.
        self._closing_lock = threading.Lock()
        self._refused = _Tally()
        self._refused_after_end = _Tally()
        for lane in self._lanes:
            lane.forget()

    def _waiting(self) -> int:
        unsorted = sum(isinstance(entry, ReadableSpan) for entry in self._inbox.copy())
        return sum(len(lane.pending) + unsorted for lane in self._lanes)

    def _run(self) -> None:
        # Instrumented HTTP and gRPC clients would make spans of our exports, which we would export.
        otel_context.attach(otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True))
        while not self._closing:
            try:
                pause_seconds = self._turn()
            except Exception:
                pause_seconds = self._interval_seconds
                self._faults += 1
                if self._faults == 1:
                    logger.exception(
                        "the exporter thread met a fault; it goes on, further faults are only counted"
                    )
            if pause_seconds and not self._closing:
                self._sleep(pause_seconds)
        self._thread_ended.set()

    def _turn(self) -> float:
        """One batch per exporter has been tried; the seconds until there is something to do again."""
        self._sort()
        for lane in self._lanes:
            if lane.wait_ns() == 0:
                lane.send()
        self._answer_marks()
        waits = [wait / 1e9 for lane in self._lanes if (wait := lane.wait_ns()) is not None]
        return min([self._interval_seconds, *waits])

    def _sleep(self, seconds: float) -> None:
        try:
            self._wake.get(timeout=seconds)
            while True:
                self._wake.get_nowait()
        except Empty:
            return

    def _sort(self) -> None:
        """Everything in the inbox is in the table of open spans, in the lanes, or answered."""
        inbox = self._inbox
        for _ in range(len(inbox)):
            try:
                entry = inbox.popleft()
            except IndexError:  # the exporter thread and a shutdown met here
                return
            if isinstance(entry, tuple):
                (span,) = entry
                self._open[_span_id(span)] = span
            elif isinstance(entry, _Mark):
                self._take_mark(entry)
            else:
                self._open.pop(_span_id(entry), None)
                for lane in self._lanes:
                    lane.add(entry)
        refusals = self._refused.value
        if refusals != self._refusals_seen:
            # The ends of some open spans were among those that found no room.
            self._refusals_seen = refusals
            self._open = {key: span for key, span in self._open.items() if span.end_time is None}

    def _take_mark(self, mark: _Mark) -> None:
        mark.owed = [
            (lane.settled + len(lane.pending), lane.dropped[DropCause.REJECTED]) for lane in self._lanes
        ]
        for lane in self._lanes:
            lane.try_now()
        self._marks.append(mark)

    def _answer_marks(self) -> None:
        while self._marks:
            mark = self._marks[0]
            pairs = list(zip(self._lanes, mark.owed, strict=True))
            if any(lane.settled < settled for lane, (settled, _) in pairs):
                return
            mark.complete = all(lane.dropped[DropCause.REJECTED] == rejected for lane, (_, rejected) in pairs)
            self._marks.popleft()
            mark.reached.set()


def _span_id(span: ReadableSpan) -> int:
    context = span.context
    return 0 if context is None else context.span_id


def _close_exporter(lane: Lane) -> None:
    try:
        lane.exporter.shutdown()
    except Exception as error:
        logger.warning("%s did not shut down cleanly: %s: %s", lane.name, type(error).__name__, error)


_queues: "weakref.WeakSet[ExportQueue]" = weakref.WeakSet()


def _forget_all_after_fork() -> None:
    for queue in list(_queues):
        queue.forget_after_fork()


when_forked(_forget_all_after_fork)
