"""An operation as it is right now: the bridge drives its state, listeners hear of every change."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from ktrdr_otel import faults, semconv
from ktrdr_otel.bridge.open_units import OpenUnits
from ktrdr_otel.bridge.report import Report
from ktrdr_otel.bridge.routing import route_finished, route_started, route_tick
from ktrdr_otel.bridge.silence import Silence, longest_gap
from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.bridge.units import rows_of, unit_of_checkpoint
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.clock import Clock, isoformat, utc_from_ns
from ktrdr_otel.context import ActiveOperation
from ktrdr_otel.operations.allowances import NOTHING_LEARNED, Allowances
from ktrdr_otel.operations.durations import Kind, kind_of, kind_of_row
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.operations.step_row import ENDED, STARTED, TYPE, StepRow
from ktrdr_otel.progress.estimate import Pace
from ktrdr_otel.progress.events import Tick, Unit
from ktrdr_otel.progress.loops import Loops
from ktrdr_otel.progress.manager import GenericProgressManager
from ktrdr_otel.progress.messages import describe, sentence
from ktrdr_otel.progress.plan import PHASE_OF_TYPE, Plan, phase_of
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.tracking import Track

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears what happens in an operation, in order, one call at a time, in whichever thread drains."""

    def operation_started(self, operation: NewOperation) -> None:
        """The operation runs."""
        ...

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """A unit, hold or container has begun."""
        ...

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """It has ended, well or badly."""
        ...

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """A tracked loop has moved."""
        ...

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """The operation has another status."""
        ...


class Recorder(Protocol):
    """Keeps what happened, and knows what earlier runs took."""

    def record(self, unit: Unit) -> None:
        """The unit has begun, or ended."""
        ...

    def record_rows(self, rows: Sequence[StepRow]) -> None:
        """Units have begun and ended well, in this order."""
        ...

    def progress(self, operation_id: str, progress: Progress) -> None:
        """The operation is there now."""
        ...

    def durations(self) -> dict[Kind, float]:
        """Mean seconds per kind of unit, from completed operations."""
        ...


class LiveOperation:
    """The state of one running operation; only the pump calls it, under its lock."""

    def __init__(
        self,
        new: NewOperation,
        *,
        active: ActiveOperation,
        plan: Plan | None,
        service: Recorder,
        listeners: Iterable[Listener],
        clock: Clock,
        allowances: Allowances = NOTHING_LEARNED,
        pulse: Pulse | None = None,
    ) -> None:
        self.operation_id = new.operation_id
        self._active = active
        self._trace_id = new.trace_id
        self._name = new.name
        self._type = new.operation_type
        self._planned = plan is not None
        self._plan = plan or Plan()
        self._loops = Loops()  # of an operation without a plan
        self._bridge = TrainingProgressBridge(
            context=None,
            progress_manager=GenericProgressManager(),
            # Ticks are looked at, not sent: whatever count is seen is worth telling.
            batch_update_stride=1,
            plan=plan,
        )
        self._service = service
        active.listeners.extend(listeners)
        self._listeners: list[Listener] = active.listeners
        self._clock = clock
        self._pace = Pace(service.durations())
        self._status = OperationStatus.RUNNING
        self._open = OpenUnits(allowances)
        self._loop_counts: dict[int, int] = {}
        self._latest: Unit | None = None  # begun, and not told to the bridge yet
        self._last_progress_ns: int | None = None
        self._least_ns = allowances.least_ns
        self._pulse = pulse
        self._silence = Silence(
            new.operation_id, active, clock=clock, pulse=pulse, step=lambda: self._bridge.message
        )
        self._failed_at: str | None = None
        self._changed = True
        self.told: Progress | None = None  # the state that was recorded last; for readers in other threads
        self.faults = 0
        self._report = Report(clock.monotonic_ns(), phase_of)
        self._tell(lambda listener: listener.operation_started(new))

    def started(self, unit: Unit) -> None:
        """A span of the operation has been opened."""
        if not self._planned and unit.progress_type is not None:
            self._widen_plan(unit)
        self._open.add(unit)
        self._silence.ends(unit.seen_monotonic_ns)
        self._service.record(unit)
        self._report.updated_at(unit.seen_monotonic_ns)
        self._changed = True
        if self.passes_units:
            # Nobody hears of each single one: the latest is told when the inbox is empty.
            self._latest = unit
            return
        route_started(self._bridge, unit)
        progress = self.progress()
        self._tell(lambda listener: listener.unit_started(unit, progress))

    def take_open(self, span_id: int) -> Unit | None:
        """The open unit of that span, which from now on is not open any more; None if there is none."""
        return self._open.take(span_id)

    @property
    def passes_units(self) -> bool:
        """Whether units that begin and end between two looks may be told together, by `passed`.

        Such units are the many, and nobody could have seen them begin.
        """
        return self._planned and not self._listeners

    def passed(self, checkpoints: Sequence[Checkpoint]) -> None:
        """They have begun and ended, in this order, and are counted alone (`is_counted_alone`)."""
        # Before anything else: what is at fault in one of them is at fault here, and nothing has been counted.
        rows = rows_of(checkpoints, self.operation_id)
        first, last = checkpoints[0], checkpoints[-1]
        before_ns = self._silence.since_ns
        self._silence.ends(first.began_monotonic_ns)
        self._judge_longest(checkpoints, before_ns)
        self._silence.goes_on_from(last.ended_monotonic_ns)
        self._latest = unit_of_checkpoint(last, self.operation_id)
        self._last_progress_ns = last.ended_ns
        self._report.updated_by(checkpoints)
        for progress_type, group in groupby(rows, itemgetter(TYPE)):
            ended = list(group)
            seconds = sum(row[ENDED] - row[STARTED] for row in ended) / 1e9
            kinds = [kind_of_row(row) for row in ended] if self._pace.knows_earlier_runs else []
            self._pace.passed(progress_type, len(ended), seconds, kinds)
            self._plan.finish(progress_type, len(ended))
            self._report.finished(progress_type, ended)
        self._service.record_rows(rows)
        self._changed = True

    def finished(self, unit: Unit) -> None:
        """A span of the operation has ended."""
        if not self._planned and self._open.is_nested(unit):
            self._end(unit, counts=False)
        else:
            self._end(unit)
        if self._listeners:
            progress = self.progress()
            self._tell(lambda listener: listener.unit_finished(unit, progress))

    def _end(self, unit: Unit, *, counts: bool = True) -> None:
        if unit.error is not None and self._failed_at is None and unit.progress_type is not None:
            self._failed_at = describe(unit.progress_type, unit.context)
        done = unit.is_finished_work
        silence = self._silence
        if silence.allowed_seconds is None and unit.seen_monotonic_ns - silence.since_ns > self._least_ns:
            # Nobody could look since it has begun.
            self._tell_latest()
            silence.allowed_seconds = self._open.allowed_seconds_with([unit])
        silence.ends(unit.seen_monotonic_ns)
        if done:
            self._pace.finished(unit, kind_of(unit) if self._pace.knows_earlier_runs else None)
            self._last_progress_ns = unit.ended_ns
            if counts:
                self._count(unit)
        self._service.record(unit)
        self._report.updated_at(unit.seen_monotonic_ns)
        self._report.ended(unit, done)
        self._changed = True

    def _count(self, unit: Unit) -> None:
        if unit.progress_type == semconv.EPOCH:
            self._tell_latest()
            route_finished(self._bridge, unit)
        if unit.progress_type is not None:
            self._plan.finish(unit.progress_type)
        if not self._planned:
            self._loops.ends(unit)
        if not self._planned or self._listeners:
            self._bridge.refresh()

    def _tell_latest(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            route_started(self._bridge, latest)

    def looped(self, loop: Track[Any], seen_ns: int) -> None:
        """A tracked loop has moved, or ended."""
        if loop.count == self._loop_counts.get(id(loop), 0):
            return
        self._loop_counts[id(loop)] = loop.count
        self._tell_latest()
        tick = _tick_of(loop, self.operation_id, seen_ns)
        self._silence.ends(seen_ns)
        if tick.epoch_index is None and not self._planned and loop.total is not None:
            self._plan.expect(tick.unit, loop.total)
            self._bridge.adopt(self._plan)
        route_tick(self._bridge, tick)
        self._last_progress_ns = self._clock.wall_ns()
        self._report.updated_at(seen_ns)
        self._changed = True
        if self._listeners:
            progress = self.progress()
            self._tell(lambda listener: listener.ticked(tick, progress))

    def loop_ended(self, loop: Track[Any], seen_ns: int) -> None:
        """The loop is told a last time, with its true count."""
        self.looped(loop, seen_ns)
        self._loop_counts.pop(id(loop), None)

    def settle(self) -> None:
        """Loops are told as far as they are; the latest state is on its way to the store."""
        self._tell_latest()
        for loop in list(self._active.loops or ()):
            self.looped(loop, self._clock.monotonic_ns())
        if self._changed:
            self._changed = False
            self._bridge.refresh()
            progress = self.told = self.progress()
            self._service.progress(self.operation_id, progress)
            if self._pulse is not None:
                self._pulse.place(
                    {
                        "message": progress.message,
                        "allowance_seconds": progress.allowance_seconds,
                        "slow_after_seconds": progress.slow_after_seconds,
                        "hold_seconds": self._open.held_seconds(),
                    }
                )
        self._silence.look()

    def forgo(self, progress_type: str) -> None:
        """The rest of the units of that type will not come."""
        self._plan.forgo(progress_type)
        self._changed = True

    def progress(self) -> Progress:
        """Where the operation is."""
        bridge = self._bridge
        allowance = self._open.allowance()
        self._silence.allowed_seconds = allowance.seconds
        return Progress(
            phase=bridge.phase or None,
            percentage=bridge.percentage,
            message=bridge.message,
            context=self._context(),
            last_progress_at=None if self._last_progress_ns is None else utc_from_ns(self._last_progress_ns),
            items_completed=self._plan.finished,
            items_planned=self._plan.planned or None,
            estimated_remaining_seconds=self._remaining_seconds(),
            phases=self._plan.by_phase(),
            moved_monotonic_ns=self._silence.since_ns,
            allowance_seconds=allowance.seconds,
            slow_after_seconds=allowance.slow_after_seconds,
        )

    def _context(self) -> Mapping[str, object]:
        """The keys of the step that is under way, and its type: not every type has keys of its own."""
        progress_type, context = self._bridge.progress_type, self._bridge.current_context
        return context if progress_type is None else {**context, "progress_type": progress_type}

    def _judge_longest(self, checkpoints: Sequence[Checkpoint], before_ns: int) -> None:
        """A stall may lie behind all of them, by a call that let no thread of ours look."""
        gap = longest_gap(checkpoints, before_ns, self._least_ns)
        if gap is not None:
            since_ns, until_ns, ended = gap
            silent = [unit_of_checkpoint(each, self.operation_id) for each in ended]
            route_started(self._bridge, silent[0])
            self._silence.judge(since_ns, until_ns, self._open.allowed_seconds_with(silent))

    def status(self) -> dict[str, Any]:
        """The state for whoever asks in the process; the keys are `Observation.status`'s."""
        progress = self.progress()
        return {
            "operation_id": self.operation_id,
            "operation_type": self._type,
            "name": self._name,
            "status": self._status.value,
            "phase": progress.phase,
            "percentage": progress.percentage,
            "message": progress.message,
            "context": dict(progress.context),
            "timestamp": isoformat(utc_from_ns(self._clock.wall_ns())),
            "trace_id": self._trace_id,
            "items_completed": progress.items_completed,
            "items_planned": progress.items_planned,
            "estimated_remaining_seconds": progress.estimated_remaining_seconds,
        }

    def report(self) -> Report:
        """What was reported so far."""
        self._report.planned_units = self._plan.planned or None
        self._report.units_of_plan = self._plan.finished
        return self._report

    def failed_at(self) -> str | None:
        """The words for the unit that failed first, else for the last one that was under way."""
        return self._failed_at or self._bridge.message or None

    def finish(self, status: OperationStatus, error: OperationError | None) -> Progress:
        """The operation has ended so; its last state."""
        self._status = status
        self._tell_latest()
        if status is OperationStatus.COMPLETED:
            self._bridge.on_complete(f"{sentence(self._type)} complete")
        progress = self.progress()
        self._tell(lambda listener: listener.status_changed(self.operation_id, status, progress, error))
        return progress

    def _remaining_seconds(self) -> float | None:
        if self._status.is_terminal or not self._bridge.has_plan:
            return None
        remaining = self._plan.remaining()
        if not self._planned and not remaining:
            return None  # all that was announced is done: what comes now nobody has announced
        return self._pace.remaining_seconds(remaining)

    def _widen_plan(self, unit: Unit) -> None:
        """Without a plan the outermost counted units make one; those inside them count nothing.

        The steps of a training have the seed's own percentages, which need no plan.
        """
        if unit.progress_type is None or self._open.is_nested(unit):
            return
        announced = self._loops.begins(unit)
        if announced is not None:
            self._plan.expect(unit.progress_type, announced)
            if unit.progress_type not in PHASE_OF_TYPE:
                self._bridge.adopt(self._plan)

    def _tell(self, call: Callable[[Listener], None]) -> None:
        for listener in list(self._listeners):
            try:
                call(listener)
            except Exception:
                self.faults += 1
                if self.faults == 1:
                    faults.report(
                        logger, "%s failed; further faults are only counted", type(listener).__name__
                    )


def _tick_of(loop: Track[Any], operation_id: str, seen_ns: int) -> Tick:
    attributes = {} if loop.checkpoint is None else loop.checkpoint.attributes
    in_epoch = attributes.get(semconv.PROGRESS_TYPE) == semconv.EPOCH
    return Tick(
        operation_id,
        loop.unit,
        loop.count,
        loop.total,
        attributes.get(semconv.ITEM_INDEX, 1) - 1 if in_epoch else None,
        attributes.get(semconv.ITEM_TOTAL) if in_epoch else None,
        seen_ns,
    )
