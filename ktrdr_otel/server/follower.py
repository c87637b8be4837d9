"""The thread that follows the store, whoever writes to it, and hands on what is new."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from ktrdr_otel import faults
from ktrdr_otel.errors import StoreError
from ktrdr_otel.metrics.state import KEPT_ENDED, KEPT_SECONDS
from ktrdr_otel.operations.models import Checkpoint, Operation, OperationStatus
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.server.closing import TraceCloser

logger = logging.getLogger(__name__)

_PAGE: Final = 500  # steps handed on at once
_LOOK_SECONDS: Final = 1.0  # a lease runs out without anyone writing

# Operations, finished steps in order, and the sequence up to which they are all.
Deliver = Callable[[Sequence[Operation], Sequence[Checkpoint], int], None]
Recall = Callable[[Sequence[Operation]], None]  # operations that ended lately, in the order of their ends


class Follower:
    """Reads what any process has written within a tenth of a second, and judges once a second who still lives.

    What happens from its start on is news. What had ended shortly before is none, and only `recall` hears of it, once:
    who shows how operations ended lately, and tells nobody.
    """

    def __init__(self, service: OperationsService, *deliver: Deliver, recall: Recall) -> None:
        self._service = service
        self._deliverers = deliver
        self._recall = recall
        self._has_recalled = False
        self._changes = service.changes()
        self._traces = TraceCloser(service)
        self._running: set[str] = set()
        self._lost: dict[str, float] = {}  # told as lost, and when: the worker of one may come back
        self._key: int | None = None
        self._sequence = 0
        self._untold_losses: set[str] = set()  # those that could not be stored yet
        self._stopped = threading.Event()
        self.is_away = False  # the store could not be read when it was looked at last
        self._thread = threading.Thread(target=self._run, name="ktrdr-otel follower", daemon=True)

    def start(self) -> None:
        """It follows, from the present on."""
        self._thread.start()

    def stop(self) -> None:
        """It has ended."""
        self._stopped.set()
        self._changes.close()
        self._thread.join()

    def _deliver(self, operations: Sequence[Operation], steps: Sequence[Checkpoint], sequence: int) -> None:
        for deliver in self._deliverers:
            deliver(operations, steps, sequence)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._changes.wait(_LOOK_SECONDS)
                self._look()
            except StoreError as error:
                if not self.is_away:
                    self.is_away = True
                    logger.warning("the store cannot be followed: %s; trying again", error)
                self._stopped.wait(_LOOK_SECONDS)
            except Exception:
                faults.report(logger, "following the store failed; trying again")
                self._stopped.wait(_LOOK_SECONDS)
            else:
                if self.is_away:
                    self.is_away = False
                    logger.warning("the store is back: %s", self._service.describe())
        self._changes.forget()

    def _look(self) -> None:
        if self._key is None:
            self._key, self._sequence = self._service.last_key(), self._service.last_sequence()
        # Operations first: by the time one has ended, all of its steps are in the store.
        operations, key = self._service.following(self._running, after_key=self._key)
        if self._lost:
            operations = [*operations, *self._service.ended_otherwise(self._lost)]
        highest = self._service.last_sequence()
        while len(steps := self._service.steps(after=self._sequence, limit=_PAGE)) == _PAGE:
            self._sequence = steps[-1].sequence
            self._deliver([], steps, self._sequence)
        is_anyone_lost = any(each.status is OperationStatus.LOST for each in operations)
        if is_anyone_lost:
            operations = self._reaped(operations)
        # Not before what may fail and is tried again: it goes on from here, and what is not handed on now never is.
        # Not every checkpoint is a step; those that are none need not be looked at again.
        self._key, self._sequence = (
            key,
            max([self._sequence, highest, *(step.sequence for step in steps[-1:])]),
        )
        self._running = {each.operation_id for each in operations if not each.status.is_terminal}
        self._untold_losses.difference_update(each.operation_id for each in operations)
        self._running |= self._untold_losses
        self._remember_lost(operations)
        self._deliver(operations, steps, self._sequence)
        if not self._has_recalled:
            self._recall_ended()
        self._traces.look(is_urgent=is_anyone_lost)

    def _reaped(self, operations: Sequence[Operation]) -> list[Operation]:
        """Whoever is lost as the store has it by now: somebody else may have been first, and known better.

        Of losses that cannot be stored nobody is told yet, and nobody else has to wait for that.
        """
        try:
            self._service.reap()
        except StoreError as error:
            if not self._untold_losses:
                logger.warning("who is lost cannot be stored: %s; trying again", error)
            lost = {each.operation_id for each in operations if each.status is OperationStatus.LOST}
            self._untold_losses |= lost
            return [each for each in operations if each.operation_id not in lost]
        return [
            self._service.get(each.operation_id) if each.status is OperationStatus.LOST else each
            for each in operations
        ]

    def _recall_ended(self) -> None:
        """After the first delivery: what ends from there on is news, and what ended before is in this answer."""
        ended = self._service.ended_lately(seconds=KEPT_SECONDS, limit=KEPT_ENDED)
        before = [each for each in ended if each.operation_id not in self._running]
        self._recall(before)
        self._remember_lost(before)
        self._has_recalled = True

    def _remember_lost(self, operations: Sequence[Operation]) -> None:
        now = time.monotonic()
        for each in operations:
            self._lost.pop(each.operation_id, None)
            if each.status is OperationStatus.LOST:
                self._lost[each.operation_id] = now
        newest = list(self._lost.items())[-KEPT_ENDED:]
        self._lost = {each: told_at for each, told_at in newest if now - told_at < KEPT_SECONDS}
