"""One exporter and the records that wait for it: batches, retries, drops, the search for poison."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Sequence
from enum import StrEnum
from itertools import islice

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel.clock import Clock
from ktrdr_otel.exporters.debts import Debts
from ktrdr_otel.exporters.delivery import Delivery, Fate, deliver
from ktrdr_otel.exporters.live import KNOWN_AFTER_NS, Answer, Describe, View
from ktrdr_otel.exporters.places import Places
from ktrdr_otel.exporters.records import OwedRecord, Showing

logger = logging.getLogger(__name__)

FIRST_BACKOFF_NS = 500_000_000
LONGEST_BACKOFF_NS = 30_000_000_000
FAILURES_BEFORE_SUSPICION = 6
# An answer that took so long may be that to a second request of the SDK's; the first can still be under way.
_PROMPT_NS = 500_000_000


# Of a request with one of these fates nothing is at the receiver.
_NOTHING_ARRIVED = (Fate.REFUSED, Fate.INDIGESTIBLE)


class DropCause(StrEnum):
    """Why a finished span was not delivered."""

    QUEUE_FULL = "queue_full"
    REJECTED = "rejected"
    SHUTDOWN = "shutdown"


class Lane:
    """The way to one exporter; only the exporter thread adds to it and sends from it.

    Order is kept: the batch at the head is settled (delivered or dropped) before the next one is tried. While
    the receiver cannot be reached, up to `max_queue` spans are kept and newer ones are dropped. Records that are owed
    to what the receiver may have been shown are kept beyond that, and also where it refuses them.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        max_queue: int,
        max_batch: int,
        clock: Clock,
        view: View | None = None,
    ) -> None:
        self.exporter = exporter
        self.view: View = view or View()
        self.pending: deque[ReadableSpan] = deque()
        self.places = Places()
        self.exported = 0
        self.dropped = Counter(dict.fromkeys(DropCause, 0))  # all keys there: read by other threads
        self.failures = 0
        self.last_error: str | None = None
        self.closed = False
        # Between the exporter thread and a shutdown that gives up on it; the threads of spans never take it.
        self._lock = threading.Lock()
        self._clock = clock
        self._debts = Debts(clock)
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._failures_in_a_row = 0
        self._not_before_ns = 0
        self._is_concluded = False
        self._ready = max_batch  # of what is pending, so many may leave; the rest waits for
        self._waits_for: ReadableSpan | None = None  # an open span to end or to be known
        self._all_known_ns = 0  # whoever waits for what began by then does so at his own risk
        self._outage_since_ns: int | None = None
        self._dropped_before_outage = 0

    @property
    def name(self) -> str:
        """Where the spans go, for people."""
        return getattr(self.exporter, "target", type(self.exporter).__name__)

    @property
    def waiting(self) -> int:
        """Records that are not settled."""
        return len(self.pending) + len(self._debts)

    @property
    def owes(self) -> bool:
        """Whether the receiver has not taken something that it has to know."""
        return self._debts.are_refused

    def add(self, span: ReadableSpan) -> None:
        """The span's last record waits here, or is counted as dropped because too many do."""
        record = self.view.final(span)
        with self._lock:
            if self.closed:
                self._drop(record, DropCause.SHUTDOWN)
            elif len(self.pending) < self._max_queue or isinstance(record, OwedRecord):
                self.pending.append(record)
            else:
                self._drop(record, DropCause.QUEUE_FULL)

    def abandon(self, span: ReadableSpan) -> None:
        """The span was never there; if it was shown open, that ends."""
        with self._lock:
            if not self.closed:
                self.pending.extend(self.view.left_open([span], self._clock.wall_ns()))

    def has_tried_up_to(self, place: int) -> bool:
        """Whether no record of that place or of one before it is waiting for an answer."""
        places = (place_of(record) for record in self.pending.copy())
        return all(each is None or each > place for each in places)

    def has_tried_all(self) -> bool:
        """Whether nothing is left but what the receiver has refused."""
        return not self.pending and self._debts.due_ns() != 0

    def wait_ns(self) -> int | None:
        """Nanoseconds until something should be sent, None when nothing waits."""
        now_ns = self._clock.wall_ns()
        waits = [self._debts.due_ns(), self.view.due_ns(now_ns)]
        if self.pending:
            waits.append(self._held_for_ns(now_ns))
        soonest = min((wait for wait in waits if wait is not None), default=None)
        if soonest is None:
            return None
        return max(soonest, self._not_before_ns - self._clock.monotonic_ns(), 0)

    def try_now(self) -> None:
        """What is held back, for whatever reason, is tried at the next turn."""
        self._not_before_ns = 0
        self._waits_for = None
        self._all_known_ns = self._clock.wall_ns()
        self._debts.retry()

    def conclude(self, left_open: Sequence[ReadableSpan]) -> None:
        """Nothing is shown open from now on; what was has an end that waits to be sent, now and not later."""
        with self._lock:
            if not self.closed and not self._is_concluded:
                self._is_concluded = True
                self.pending.extendleft(reversed(self.view.leading(list(self.pending), ()).markers))
                self.pending.extend(self.view.left_open(left_open, self._clock.wall_ns()))
        self._debts.conclude()

    def send(self, describe: Describe) -> None:
        """The oldest batch is settled, or waits for its next attempt; then what is open is shown."""
        self._take_up()
        if self.pending and self._ready:
            self._send_batch()
        may_show = not self.closed and not self._is_concluded
        if may_show and self._not_before_ns <= self._clock.monotonic_ns():
            self._show(describe)

    def close(self) -> None:
        """What still waits is counted as dropped; a send that is under way changes nothing any more."""
        with self._lock:
            self.closed = True
            self.dropped[DropCause.SHUTDOWN] += self.waiting
            self.pending.clear()
            self._debts.clear()

    def forget(self) -> None:
        """Nothing waits here and nothing will; nothing is counted, for it is another process's."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self.closed = True
        self.pending = deque()
        self._debts.clear()

    def _take_up(self) -> None:
        """What is owed, and due again, waits behind the rest; what has to lead the next batch is in front of it."""
        with self._lock:
            if self.closed:
                return
            self.pending.extend(self._debts.take_due())
            self._ready, self._waits_for = self._max_batch, None
            if self._is_concluded:
                return
            now_ns = self._clock.wall_ns()
            self.pending.extendleft(reversed(self.view.markers_due(now_ns)))
            self._hold(now_ns)
            head = list(islice(self.pending, self._ready))
            behind = list(islice(self.pending, self._ready, None))
            leading = self.view.leading(head, behind)
            if leading.waiting:
                moved = {id(record) for record in leading.waiting}
                left = [record for record in self.pending if id(record) not in moved]
                self.pending = deque([*leading.waiting, *left])
            self.pending.extendleft(reversed(leading.markers))
            self._ready += len(leading.markers) + len(leading.waiting)
            if self._ready > self._max_batch:
                self._ready, self._waits_for = self._max_batch, None

    def _hold(self, now_ns: int) -> None:
        """What has to wait does so, and all behind it, unless so much waits that some of it would be lost."""
        if self._is_pressed():
            return
        known_ns = max(now_ns - KNOWN_AFTER_NS, self._all_known_ns)
        held = self.view.first_held(self.pending, self._max_batch, known_ns, now_ns)
        if held is not None:
            self._ready, self._waits_for = held

    def _held_for_ns(self, now_ns: int) -> int:
        """How much longer what is held has to wait."""
        if self._waits_for is None or self._waits_for.end_time is not None or self._is_pressed():
            return 0
        left_ns = (self._waits_for.start_time or 0) + KNOWN_AFTER_NS - now_ns
        return left_ns if 0 < left_ns <= KNOWN_AFTER_NS else 0  # more is left where the clock was set back

    def _is_pressed(self) -> bool:
        """Whether so much waits that whatever delays it may cost some of it."""
        return len(self.pending) > self._max_queue // 2

    def _send_batch(self) -> None:
        batch = list(islice(self.pending, self._ready))
        delivery = self._deliver(batch)
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
                self._sift(len(batch))
            case Fate.FAILED if suspicious:
                self._note_failure(delivery)
                self._sift(len(batch))
            case _:
                self._note_failure(delivery)
                self._hold_back()

    def _deliver(self, batch: Sequence[ReadableSpan]) -> Delivery:
        delivery = deliver(self.exporter, batch)
        if delivery.fate not in _NOTHING_ARRIVED:
            for record in batch:
                if isinstance(record, OwedRecord):
                    record.was_sent()
        return delivery

    def _show(self, describe: Describe) -> None:
        """What is open is sent as it is now, unless so much waits that it would be in the way."""
        if self._is_pressed():
            return
        snapshots = self.view.snapshots_due(self._clock.wall_ns(), describe, self._max_batch)
        if not snapshots:
            return
        asked_ns = self._clock.monotonic_ns()
        delivery = deliver(self.exporter, snapshots)
        is_taken = delivery.fate is Fate.DELIVERED and not delivery.rejected
        if delivery.fate in _NOTHING_ARRIVED:
            answer = Answer.REFUSED
        else:
            is_prompt = self._clock.monotonic_ns() - asked_ns < _PROMPT_NS
            answer = Answer.TAKEN if is_taken and is_prompt else Answer.UNKNOWN
        self.view.answered(snapshots, self._clock.wall_ns(), answer)
        if is_taken:
            self._tell_of_recovery()
        elif not self.closed:
            # Not counted against the batch that comes next: it has not been tried.
            self.failures += 1
            self._tell_of_outage(delivery.error or delivery.fate.value)

    def _delivered(self, count: int, delivery: Delivery) -> None:
        rejected = min(delivery.rejected, count)
        self._settle(count, rejected)
        self._failures_in_a_row = 0
        self._not_before_ns = 0
        if rejected:
            self.failures += 1
            self._tell_of_outage(delivery.error or "no reason given")

    def _sift(self, count: int) -> None:
        """What can be sent of the oldest is sent, in order; what is at fault is isolated and rejected.

        The tries are bounded: one poisonous span among n is found in 2 log2(n); where more is at fault the
        rest is rejected unheard. A receiver that goes away meanwhile leaves the rest waiting.
        """
        tries = 2 * count.bit_length()
        parts = [(count, True)]
        while parts:
            length, known_bad = parts.pop()
            if known_bad and length > 1 and tries:
                parts += [(length - length // 2, False), (length // 2, False)]
            elif known_bad or not tries:
                self._reject(length, is_indigestible=length == 1)
            else:
                tries -= 1
                # What comes before it is settled: the part is what is at the head now.
                delivery = self._deliver(list(islice(self.pending, length)))
                if self.closed:
                    return
                if delivery.fate is Fate.DELIVERED:
                    self._delivered(length, delivery)
                elif delivery.fate is Fate.UNREACHABLE:
                    self._note_failure(delivery)
                    self._hold_back()
                    return
                else:
                    parts.append((length, True))

    def _settle(self, count: int, rejected: int) -> None:
        with self._lock:
            if self.closed:  # counted as dropped when it was given up
                return
            kept = 0
            for _ in range(count):
                record = self.pending.popleft()
                if rejected and isinstance(record, OwedRecord):
                    # Nobody says which of them were not stored.
                    self._debts.refused(record)
                    kept += 1
                    continue
                self.places.settle(place_of(record))
                if isinstance(record, OwedRecord):
                    self._debts.paid(record)
            lost = min(rejected, count - kept)
            self.exported += count - kept - lost
            self.dropped[DropCause.REJECTED] += lost

    def _reject(self, count: int, *, is_indigestible: bool = False) -> None:
        never_shown: list[Showing] = []
        with self._lock:
            if self.closed:
                return
            for _ in range(count):
                record = self.pending.popleft()
                if not isinstance(record, OwedRecord):
                    self._drop(record, DropCause.REJECTED)
                elif record.must_arrive:
                    self._debts.refused(record.bare() if is_indigestible else record)
                elif record.is_marker and record.showing is not None:
                    self.view.not_shown(record)
                    never_shown.append(record.showing)
                else:
                    self._drop(record, DropCause.REJECTED)
            if never_shown:
                self.pending = deque(_as_never_marked(each, never_shown) for each in self.pending)
        self._failures_in_a_row = 0

    def _drop(self, record: ReadableSpan, cause: DropCause) -> None:
        self.dropped[cause] += 1
        self.places.settle(place_of(record))

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


def _as_never_marked(record: ReadableSpan, never_shown: Sequence[Showing]) -> ReadableSpan:
    """The end of a marker that did not get there is the span itself."""
    if isinstance(record, OwedRecord) and record.plain is not None and record.showing in never_shown:
        return record.plain
    return record


def place_of(span: ReadableSpan) -> int | None:
    """The span's place in the export queue; None where it was not given one."""
    return getattr(span, "export_place", None)
