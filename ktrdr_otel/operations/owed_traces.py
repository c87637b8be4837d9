"""The traces of operations whose process can export no more: who owes what, and whose turn it is to send it."""

from collections.abc import Iterable, Iterator, Sequence

from ktrdr_otel.clock import Clock
from ktrdr_otel.operations.models import Checkpoint
from ktrdr_otel.operations.ports import OperationStore
from ktrdr_otel.operations.trace_debts import TraceDebt
from ktrdr_otel.operations.trace_export import ExportLedger, TraceReceiver

_PAGE = 512  # as many spans as one request takes


class OwedTraces:
    """Those of one store; safe from any thread, and from many processes at once."""

    def __init__(self, store: OperationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def owed(self, *, due: bool = True) -> Sequence[str]:
        """Operations whose process can export no more; with `due` those whose trace anybody may complete now."""
        return self._store.traces_owed(now_ns=self._clock.wall_ns(), due=due)

    def debt(self, operation_id: str) -> TraceDebt | None:
        """What the operation's trace owes, whoever has the turn to send it; None where it owes nothing."""
        return self._store.trace_debt(operation_id)

    def take(self, operation_id: str, *, first: bool = False) -> TraceDebt | None:
        """What the operation's trace owes, if it was this call that got the turn to send it, for a minute.

        Who is `first` waits for no pause, only for a request of somebody else that may be under way.
        """
        return self._store.take_trace(operation_id, now_ns=self._clock.wall_ns(), first=first)

    def checkpoints(self, debt: TraceDebt) -> Iterator[Sequence[Checkpoint]]:
        """Page by page, those whose spans are not known to have arrived: what was open first, then what had ended."""
        for left_open in (True, False):
            after = 0
            while page := self._store.owed_checkpoints(
                debt.operation.operation_id,
                debt.confirmed,
                left_open=left_open,
                after=after,
                limit=_PAGE,
            ):
                yield page
                after = page[-1].sequence

    def arrived(self, operation_id: str, checkpoints: Iterable[Checkpoint]) -> None:
        """The spans of those checkpoints owe nothing any more; the turn lasts a minute from now."""
        sequences = [each.sequence for each in checkpoints]
        self._store.spans_arrived(operation_id, sequences, now_ns=self._clock.wall_ns())

    def put_off(self, operation_id: str, receivers: Sequence[TraceReceiver]) -> None:
        """Those receivers did not take it, and are owed it still; the pause before the next try doubles with each."""
        self._store.put_off_trace(operation_id, receivers, now_ns=self._clock.wall_ns())

    def leave(self, operation_id: str, ledger: ExportLedger) -> None:
        """This process exports no more of the operation's trace, and somebody else has to complete it."""
        marked = ledger.take_marked(operation_id)
        self._store.leave_trace(operation_id, confirmed=ledger.confirmed, marked=marked)

    def complete(self, operation_id: str) -> None:
        """The operation's trace owes nothing any more."""
        self._store.trace_complete(operation_id)
