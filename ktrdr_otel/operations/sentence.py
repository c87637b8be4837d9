"""How an operation stands, in one sentence."""

from datetime import datetime

from ktrdr_otel.operations.models import Operation, OperationStatus


def sentence_of(operation: Operation, now: datetime) -> str:
    """The sentence, for people; `now` is aware.

    A stall says what the process does meanwhile: `stalled 312 s in Computing RSI (15/40) [1h] AAPL: one core busy
    (98 %), in compute, momentum.py:88`.
    """
    if operation.status is OperationStatus.RUNNING:
        asked = "" if operation.cancel_reason is None else f"; asked to stop: {operation.cancel_reason}"
        return f"{_running(operation, now)}{asked}"
    where = f" in {operation.message}" if operation.message else ""
    if operation.error is not None:
        step = f" in {operation.error.step}" if operation.error.step else ""
        return f"{operation.status.value}{step}: {operation.error.type}: {operation.error.message}"
    if operation.lost_reason is not None:
        return f"lost{where}: {operation.lost_reason}"
    if operation.status is OperationStatus.CANCELLED and operation.cancel_reason is not None:
        return f"cancelled{where}: {operation.cancel_reason}"
    return operation.status.value


def _running(operation: Operation, now: datetime) -> str:
    stall = operation.stall
    if operation.suspended:
        return f"suspended in {operation.message}: its process was stopped by a signal"
    if operation.stalled:
        if stall is None or stall.until is not None:
            return (
                f"stalled {_silence(operation, now)} in {operation.message}: nobody has looked at its process"
            )
        seconds = (now - stall.since).total_seconds()
        return f"stalled {max(seconds, 0):.0f} s in {stall.step}: {stall.activity}"
    if operation.slow:
        return f"slow: {_silence(operation, now)} in {operation.message}, longer than such steps take"
    return f"running, {operation.percentage:.1f} %: {operation.message}"


def _silence(operation: Operation, now: datetime) -> str:
    since = operation.last_progress_at or operation.started_at
    return f"{max((now - since).total_seconds(), 0):.0f} s"
