"""What is still owed to a receiver although it had its turn: refused, or perhaps overtaken by an older record."""

from typing import Final

from ktrdr_otel.clock import Clock
from ktrdr_otel.exporters.records import OwedRecord

_SECOND_NS: Final = 1_000_000_000
_FIRST_PAUSE_NS: Final = _SECOND_NS
_LONGEST_PAUSE_NS: Final = 30 * _SECOND_NS
# Longer than the default timeout of an OTLP request, after which no receiver should still work on it.
AGAIN_AFTER_NS: Final = 12 * _SECOND_NS


class Debts:
    """Owed records that wait apart, each for its time; used by the exporter thread alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: list[OwedRecord] = []
        self._pause_ns = _FIRST_PAUSE_NS
        self._next_try_ns = 0
        self._again: list[tuple[int, OwedRecord]] = []
        self._again_after_ns = AGAIN_AFTER_NS

    def __len__(self) -> int:
        return len(self._refused) + len(self._again)

    @property
    def are_refused(self) -> bool:
        """Whether the receiver did not take something when it was sent last."""
        return bool(self._refused)

    def refused(self, record: OwedRecord) -> None:
        """The record is tried again, after pauses that grow to half a minute."""
        if not self._refused:
            self._next_try_ns = self._clock.monotonic_ns() + self._pause_ns
            self._pause_ns = min(2 * self._pause_ns, _LONGEST_PAUSE_NS)
        self._refused.append(record)

    def paid(self, record: OwedRecord) -> None:
        """The record has arrived; where an older one may still be under way it will be sent once more."""
        self._pause_ns = _FIRST_PAUSE_NS
        if record.again:
            once_more = OwedRecord.of(record)
            once_more.again, once_more.export_place = False, None
            self._again.append((self._clock.monotonic_ns() + self._again_after_ns, once_more))

    def retry(self) -> None:
        """What was refused is due."""
        self._next_try_ns = self._clock.monotonic_ns()

    def conclude(self) -> None:
        """What has to be sent a second time is due now, or never."""
        self._again_after_ns = 0
        self._again = [(self._clock.monotonic_ns(), record) for _, record in self._again]

    def due_ns(self) -> int | None:
        """Nanoseconds until something is due; None where nothing is owed."""
        moments = [moment for moment, _ in self._again]
        if self._refused:
            moments.append(self._next_try_ns)
        return max(0, min(moments) - self._clock.monotonic_ns()) if moments else None

    def take_due(self) -> list[OwedRecord]:
        """What is due, which is not kept here any longer."""
        now_ns = self._clock.monotonic_ns()
        due = [record for moment, record in self._again if moment <= now_ns]
        self._again = [(moment, record) for moment, record in self._again if moment > now_ns]
        if self._refused and self._next_try_ns <= now_ns:
            due, self._refused = [*self._refused, *due], []
        return due

    def clear(self) -> None:
        """Nothing is owed."""
        self._refused.clear()
        self._again.clear()
