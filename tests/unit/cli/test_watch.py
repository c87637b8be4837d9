"""An operation of another process, shown."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ktrdr_otel import semconv
from ktrdr_otel.cli.output import Operations
from ktrdr_otel.cli.watch import watch
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus, Operation, OperationStatus

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Followed:
    """One operation, with what is heard of it after the first look."""

    def __init__(self, first: Operation, *news: Checkpoint | Operation) -> None:
        self._first = first
        self._news = news

    def get(self, _operation_id: str) -> Operation:
        """As it was at the first look."""
        return self._first

    def follow(self, _operation_id: str) -> Iterator[Checkpoint | Operation]:
        """What is heard."""
        return iter(self._news)


def operation(status: OperationStatus, seconds: float, **more: Any) -> Operation:
    """It has moved last at that second."""
    at = BEGAN + timedelta(seconds=seconds)
    return Operation(
        operation_id="one",
        operation_type="training",
        name="train one",
        status=status,
        started_at=BEGAN,
        last_progress_at=at,
        ended_at=at if status.is_terminal else None,
        **more,
    )


def epoch(number: int, *, status: CheckpointStatus = CheckpointStatus.COMPLETED) -> Checkpoint:
    """It has ended at the second of its number."""
    return Checkpoint(
        sequence=number,
        operation_id="one",
        progress_type=semconv.EPOCH,
        name="epoch",
        step=None,
        symbol=None,
        symbol_index=None,
        symbol_total=None,
        timeframe=None,
        item_name=None,
        item_index=number,
        item_total=3,
        started_at=BEGAN + timedelta(seconds=number - 1),
        ended_at=BEGAN + timedelta(seconds=number),
        status=status,
        trace_id="0a" * 16,
        span_id="0b" * 8,
        parent_span_id=None,
        metrics={"loss": 1 / number},
    )


def lines_of(followed: Followed, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What watching it prints."""
    watch(cast("Operations", followed), "one", "plain")
    return capsys.readouterr().out.splitlines()


def test_a_run_that_has_ended_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Its steps are over: none is told as if the operation were there."""
    ended = operation(OperationStatus.COMPLETED, 3, percentage=100.0, message="Training complete")

    assert lines_of(Followed(ended, epoch(1), epoch(2), epoch(3), ended), capsys) == [
        "operation one: train one",
        "100.0 %  operation one completed",
    ]


def test_an_epoch_is_told_with_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    """One that ends while somebody watches; those before are over."""
    first = operation(OperationStatus.RUNNING, 2.5, percentage=80.0, message="Epoch 3/3")
    ended = operation(OperationStatus.COMPLETED, 3, percentage=100.0, message="Training complete")

    assert lines_of(Followed(first, epoch(1), epoch(2), epoch(3), ended), capsys) == [
        "operation one: train one",
        " 80.0 %  Epoch 3/3  loss 0.3333",
        "100.0 %  operation one completed",
    ]


def test_a_run_that_is_lost_is_said_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is known of its end."""
    first = operation(OperationStatus.RUNNING, 1, percentage=45.0)
    lost = dataclasses.replace(
        first, status=OperationStatus.LOST, lost_reason="process 7 was killed by SIGKILL"
    )

    assert lines_of(Followed(first, lost), capsys)[-1] == (
        " 45.0 %  operation one lost: process 7 was killed by SIGKILL"
    )
