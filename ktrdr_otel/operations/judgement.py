"""How an operation stands, as whoever reads its record judges: moving, slow, stalled, suspended or lost."""

import dataclasses

from ktrdr_otel.clock import Clock, utc_from_ns
from ktrdr_otel.operations import lease
from ktrdr_otel.operations.models import Operation, OperationStatus
from ktrdr_otel.operations.ports import Movement, OperationStore, Stored
from ktrdr_otel.operations.stalls import Condition, judge
from ktrdr_otel.operations.worker import boot_id, pid_namespace

_EXCUSED_NS = 2 * 10**9  # once everybody can write again, in which they tell that they have moved


class Judgement:
    """Judges the operations of one store; safe from any thread."""

    def __init__(self, store: OperationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._frozen_seen_ns: int | None = None

    def of(self, stored: Stored) -> Operation:
        """The operation as it stands now: by its watcher's word, else by its silence, else by its lease."""
        operation = stored.operation
        if operation.status is not OperationStatus.RUNNING:
            return operation
        here = lease.Here(boot_id(), pid_namespace(), self._clock.wall_ns(), self._clock.monotonic_ns())
        why = lease.lost_reason(stored.heartbeat, here, started_ticks=lease.look(stored.heartbeat.worker))
        condition = _condition(stored, here)
        if why is not None or condition is Condition.STALLED or lease.is_overdue(stored.heartbeat, here):
            frozen = self._store.frozen_writer()
            if frozen is not None:
                self._frozen_seen_ns = here.monotonic_ns
            if self._frozen_seen_ns is not None and here.monotonic_ns - self._frozen_seen_ns < _EXCUSED_NS:
                # Neither a process nor its watcher can say anything: silence proves nothing, but of the frozen.
                is_mine = frozen is not None and lease.is_of(stored.heartbeat.worker, frozen, here)
                return dataclasses.replace(operation, suspended=operation.suspended or is_mine)
        if why is not None:
            return dataclasses.replace(
                operation,
                status=OperationStatus.LOST,
                lost_reason=why,
                ended_at=utc_from_ns(stored.heartbeat.wall_ns),
                estimated_remaining_seconds=None,
                stalled=False,
                suspended=False,
            )
        if operation.stalled or operation.suspended:
            return operation
        return dataclasses.replace(
            operation, slow=condition is Condition.SLOW, stalled=condition is Condition.STALLED
        )


def _condition(stored: Stored, here: lease.Here) -> Condition:
    movement: Movement | None = stored.movement
    if movement is None:
        return Condition.MOVING
    same_boot = lease.is_same_boot(stored.heartbeat.worker, here)
    silence_ns = here.monotonic_ns - movement.monotonic_ns if same_boot else here.wall_ns - movement.wall_ns
    return judge(silence_ns / 1e9, movement.allowance_seconds, movement.slow_after_seconds)
