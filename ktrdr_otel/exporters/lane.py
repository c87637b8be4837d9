"""One exporter and the finished spans that wait for it: batches, retries, drops, the search for poison."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Sequence
from enum import StrEnum
from itertools import islice

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel.clock import Clock
from ktrdr_otel.exporters.delivery import Delivery, Fate, deliver

logger = logging.getLogger(__name__)

FIRST_BACKOFF_NS = 500_000_000
LONGEST_BACKOFF_NS = 30_000_000_000
FAILURES_BEFORE_SUSPICION = 6


class DropCause(StrEnum):
    """Why a finished span was not delivered."""

    QUEUE_FULL = "queue_full"
    REJECTED = "rejected"
    SHUTDOWN = "shutdown"


class Lane:
    """The way to one exporter; only the exporter thread adds to it and sends from it.

    Order is kept: the batch at the head is settled (delivered or dropped) before the next one is tried. While
    the receiver cannot be reached, up to `max_queue` spans are kept and newer ones are dropped.
    """

    def __init__(self, exporter: SpanExporter, *, max_queue: int, max_batch: int, clock: Clock) -> None:
        self.exporter = exporter
        self.pending: deque[ReadableSpan] = deque()
        self.exported = 0
        self.dropped = Counter(dict.fromkeys(DropCause, 0))  # all keys there: read by other threads
        self.failures = 0
        self.last_error: str | None = None
        self.closed = False
        # Between the exporter thread and a shutdown that gives up on it; the threads of spans never take it.
        self._lock = threading.Lock()
        self._clock = clock
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._failures_in_a_row = 0
        self._not_before_ns = 0
        self._outage_since_ns: int | None = None
        self._dropped_before_outage = 0

    @property
    def name(self) -> str:
        """Where the spans go, for people."""
        return getattr(self.exporter, "target", type(self.exporter).__name__)

    @property
    def settled(self) -> int:
        """Spans that no longer wait, delivered or not."""
        return self.exported + self.dropped.total()

    def add(self, span: ReadableSpan) -> None:
        """The span waits here, or is counted as dropped because too many do."""
        with self._lock:
            if self.closed:
                self.dropped[DropCause.SHUTDOWN] += 1
            elif len(self.pending) < self._max_queue:
                self.pending.append(span)
            else:
                self.dropped[DropCause.QUEUE_FULL] += 1

    def wait_ns(self) -> int | None:
        """Nanoseconds until something should be sent, None when nothing waits."""
        return max(0, self._not_before_ns - self._clock.monotonic_ns()) if self.pending else None

    def try_now(self) -> None:
        """The next batch is not held back by earlier failures."""
        self._not_before_ns = 0

    def send(self) -> None:
        """The oldest batch is settled, or waits for its next attempt."""
        batch = list(islice(self.pending, self._max_batch))
        delivery = deliver(self.exporter, batch)
        if self.closed:  # given up meanwhile, and counted
            return
        suspicious = self._failures_in_a_row + 1 >= FAILURES_BEFORE_SUSPICION
        match delivery.fate:
            case Fate.DELIVERED:
                self._delivered(len(batch), delivery)
                if not delivery.rejected:
                    self._tell_of_recovery()
            case Fate.REFUSED:
                self._note_failure(delivery)
                self._reject(len(batch))
            case Fate.INDIGESTIBLE:
                self._note_failure(delivery)
                self._sift(batch)
            case Fate.FAILED if suspicious:
                self._note_failure(delivery)
                self._sift(batch)
            case _:
                self._note_failure(delivery)
                self._hold_back()

    def close(self) -> None:
        """What still waits is counted as dropped; a send that is under way changes nothing any more."""
        with self._lock:
            self.closed = True
            self.dropped[DropCause.SHUTDOWN] += len(self.pending)
            self.pending.clear()

    def forget(self) -> None:
        """Nothing waits here and nothing will; nothing is counted, for it is another process's."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self.closed = True
        self.pending = deque()

    def _delivered(self, count: int, delivery: Delivery) -> None:
        rejected = min(delivery.rejected, count)
        self._settle(count, rejected)
        self._failures_in_a_row = 0
        self._not_before_ns = 0
        if rejected:
            self.failures += 1
            self._tell_of_outage(delivery.error or "no reason given")

    def _sift(self, batch: Sequence[ReadableSpan]) -> None:
        """What can be sent of the batch is sent, in order; what is at fault is isolated and rejected.

        The tries are bounded: one poisonous span among n is found in 2 log2(n); where more is at fault the
        rest is rejected unheard. A receiver that goes away meanwhile leaves the rest waiting.
        """
        tries = 2 * len(batch).bit_length()
        parts = [(batch, True)]
        while parts:
            part, known_bad = parts.pop()
            if known_bad and len(part) > 1 and tries:
                middle = len(part) // 2
                parts += [(part[middle:], False), (part[:middle], False)]
            elif known_bad or not tries:
                self._reject(len(part))
            else:
                tries -= 1
                delivery = deliver(self.exporter, part)
                if self.closed:
                    return
                if delivery.fate is Fate.DELIVERED:
                    self._delivered(len(part), delivery)
                elif delivery.fate is Fate.UNREACHABLE:
                    self._note_failure(delivery)
                    self._hold_back()
                    return
                else:
                    parts.append((part, True))

    def _settle(self, count: int, rejected: int) -> None:
        with self._lock:
            if self.closed:  # counted as dropped when it was given up
                return
            for _ in range(count):
                self.pending.popleft()
            self.exported += count - rejected
            self.dropped[DropCause.REJECTED] += rejected

    def _reject(self, count: int) -> None:
        self._settle(count, count)
        self._failures_in_a_row = 0

    def _hold_back(self) -> None:
        # The exponent is bounded so that a long outage does not make a huge number first.
        backoff = FIRST_BACKOFF_NS << min(self._failures_in_a_row - 1, 10)
        self._not_before_ns = self._clock.monotonic_ns() + min(backoff, LONGEST_BACKOFF_NS)

    def _note_failure(self, delivery: Delivery) -> None:
        self.failures += 1
        self._failures_in_a_row += 1
        self._tell_of_outage(delivery.error or delivery.fate.value)

    def _tell_of_outage(self, why: str) -> None:
        self.last_error = why
        if self._outage_since_ns is None:
            self._outage_since_ns = self._clock.monotonic_ns()
            self._dropped_before_outage = self.dropped.total()
            logger.warning(
                "spans do not get through to %s: %s; further faults are only counted", self.name, why
            )

    def _tell_of_recovery(self) -> None:
        if self._outage_since_ns is None:
            return
        seconds = (self._clock.monotonic_ns() - self._outage_since_ns) / 1e9
        lost = self.dropped.total() - self._dropped_before_outage
        self._outage_since_ns = None
        logger.warning("spans get through to %s again after %.1f s; %d were lost", self.name, seconds, lost)
