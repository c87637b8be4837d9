"""`ktrdr-otel operations watch`: an operation of any process or machine, with the display that `train` has."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import typer

from ktrdr_otel.display.base import printable
from ktrdr_otel.display.panel import OperationPanel
from ktrdr_otel.display.strict_json import strict_json
from ktrdr_otel.operations.json_form import checkpoint_json, operation_json
from ktrdr_otel.operations.models import (
    Checkpoint,
    NewOperation,
    Operation,
    OperationError,
    OperationStatus,
    Progress,
    Worker,
)
from ktrdr_otel.operations.sentence import sentence_of
from ktrdr_otel.operations.stored_unit import unit_of
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.progress.messages import describe

if TYPE_CHECKING:
    from ktrdr_otel.cli.output import Operations
    from ktrdr_otel.display.base import Display

DisplayKind = Literal["live", "plain"]

_LOOK_SECONDS: Final = 1.0
_NOBODY: Final = Worker(host="", boot_id="", pid=0, pid_started_ticks=0, pid_namespace="")


def watch(opened: "Operations", operation_id: str | None, kind: DisplayKind) -> OperationStatus:
    """The operation has ended so; until then it was shown. Without an id it is the newest that runs."""
    from ktrdr_otel.display.choose import choose_display

    first = opened.get(operation_id) if operation_id is not None else _newest(opened)
    display = choose_display(kind)
    assert display is not None
    latest, said = first, ""
    try:
        display.operation_started(_begun(first))
        if isinstance(display, OperationPanel):
            display.has_run_for((datetime.now(UTC) - first.started_at).total_seconds())
        for news in opened.follow(first.operation_id):
            if isinstance(news, Checkpoint):
                _tell_step(display, news, first, latest)
            else:
                latest = news
                if news.status.is_terminal:
                    continue  # said below, once; and one that has ended does not move again
                said = _say_how_it_stands(display, news, said)
                display.unit_started(_present(news), _progress(news))
        display.status_changed(latest.operation_id, latest.status, _progress(latest), _error(latest))
    finally:
        display.close()
    return latest.status


def watch_as_json(opened: "Operations", operation_id: str | None) -> OperationStatus:
    """The operation has ended so; until then each step and each state was a line of JSON."""
    latest = opened.get(operation_id) if operation_id is not None else _newest(opened)
    for news in opened.follow(latest.operation_id):
        if isinstance(news, Checkpoint):
            form = {"event": "step", "operation_id": news.operation_id, **checkpoint_json(news)}
        else:
            latest = news
            form = {"event": "end" if news.status.is_terminal else "state", **operation_json(news)}
        typer.echo(strict_json(form))
    return latest.status


def _newest(opened: "Operations") -> Operation:
    said = False
    while True:
        running = opened.list(status=OperationStatus.RUNNING, limit=1)
        if running:
            return running[0]
        if not said:
            typer.echo(f"nothing runs in {opened.describe()}; waiting for an operation to begin", err=True)
            said = True
        time.sleep(_LOOK_SECONDS)


def _say_how_it_stands(display: "Display", operation: Operation, said: str) -> str:
    """What was said: drawn in place, or a line when the condition is another than before."""
    unwell = operation.slow or operation.stalled or operation.suspended
    sentence = sentence_of(operation, datetime.now(UTC)) if unwell else ""
    if isinstance(display, OperationPanel):
        display.stands(sentence or None)
    elif sentence.partition(" ")[0] != said.partition(" ")[0]:
        typer.echo(printable(sentence) if sentence else "it moves again")
    return sentence


def _tell_step(display: "Display", step: Checkpoint, first: Operation, latest: Operation) -> None:
    """The step has ended: in a picture it is among the last ones, as a line it has its own words.

    What had ended by the `first` look is no line: the operation is not there any more.
    """
    unit, progress = unit_of(step), _progress(latest)
    if isinstance(display, OperationPanel):
        display.unit_finished(unit, progress)
        return
    looked = first.ended_at or first.last_progress_at
    if looked is None or step.ended_at is None or step.ended_at > looked:
        display.unit_finished(unit, replace(progress, message=describe(unit.progress_type, unit.context)))


def _present(operation: Operation) -> Unit:
    """What is under way, as far as the state tells."""
    return Unit(
        operation.operation_id, 0, 0, None, "", operation.phase or operation.name, operation.context, 0, 0
    )


def _begun(operation: Operation) -> NewOperation:
    return NewOperation(
        operation_id=operation.operation_id,
        operation_type=operation.operation_type,
        name=operation.name,
        started_at=operation.started_at,
        trace_id=operation.trace_id,
        span_id=None,
        worker=_NOBODY,
        lease_seconds=0,
        planned_units=operation.items_planned,
    )


def _progress(operation: Operation) -> Progress:
    return Progress(
        phase=operation.phase,
        percentage=operation.percentage,
        message=operation.message,
        context=operation.context,
        last_progress_at=operation.last_progress_at,
        items_completed=operation.items_completed,
        items_planned=operation.items_planned,
        estimated_remaining_seconds=operation.estimated_remaining_seconds,
        phases=operation.phases,
    )


def _error(operation: Operation) -> OperationError | None:
    if operation.lost_reason is not None:
        return OperationError(type="lost", message=operation.lost_reason, step=operation.message or None)
    return operation.error
