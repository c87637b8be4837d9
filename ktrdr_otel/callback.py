"""The seed's progress callback, `callback(epoch, total_epochs, metrics)`, in both directions.

`fed` gives a callback what an operation reports; `CallbackSpans` is a callback that makes checkpoints of what a
foreign pipeline reports.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from ktrdr_otel import semconv
from ktrdr_otel.checkpoint import Checkpoint, checkpoint
from ktrdr_otel.context import ActiveOperation
from ktrdr_otel.progress.events import Tick, Unit

ProgressCallback = Callable[[int, int, dict[str, Any]], None]

_CALLBACK_NAME: Final = {"loss": "train_loss", "accuracy": "train_accuracy"}
_METRIC_NAME: Final = {name: metric for metric, name in _CALLBACK_NAME.items()}
# The callback's dictionaries say `step` and `phase` where the context says which kind of step it is.
_KEY: Final = {"preprocessing_step": "step", "preparation_phase": "phase"}


def callback_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """An epoch's metrics by the names that callbacks use: `train_loss`, `val_loss`, ..."""
    return {_CALLBACK_NAME.get(name, name): value for name, value in metrics.items()}


@contextmanager
def fed(operation: ActiveOperation, callback: ProgressCallback) -> Iterator[None]:
    """The callback hears everything that the operation reports while the block runs, in order.

    It is called in the thread that reads progress, not in the one that works; before the block is left it has
    heard all. What it raises is logged and counted, like any listener's fault.
    """
    feed = _Feed(callback)
    operation.drain()
    operation.listeners.append(feed)
    try:
        yield
    finally:
        operation.drain()
        operation.listeners.remove(feed)


class _Feed:
    """A listener that speaks the callback's language."""

    def __init__(self, callback: ProgressCallback) -> None:
        self._callback = callback

    def operation_started(self, operation: object) -> None:
        """Nothing: the callback knows no operations."""

    def unit_started(self, unit: Unit, progress: object) -> None:
        """Pre-training steps are told when they begin, with epoch 0 of 0."""
        if unit.progress_type is None or unit.progress_type in (semconv.EPOCH, semconv.HOLD):
            return
        context = {_KEY.get(key, key): value for key, value in unit.context.items()}
        self._callback(0, 0, {"progress_type": unit.progress_type, **context})

    def unit_finished(self, unit: Unit, progress: object) -> None:
        """Epochs are told when they have ended, with their metrics."""
        if unit.progress_type != semconv.EPOCH or not unit.is_finished_work:
            return
        epoch, total = unit.context["epoch_index"], unit.context["total_epochs"]
        if isinstance(epoch, int) and isinstance(total, int):
            metrics = callback_metrics(unit.metrics or {})
            self._callback(epoch - 1, total, {"progress_type": semconv.EPOCH, "epoch": epoch - 1, **metrics})

    def ticked(self, tick: Tick, progress: object) -> None:
        """Batches are told as far as they have got."""
        if tick.epoch_index is None or tick.count == 0:
            return
        batch = {"batch": tick.count - 1, "total_batches_per_epoch": tick.total}
        self._callback(tick.epoch_index, tick.total_epochs or 0, {"progress_type": semconv.BATCH, **batch})

    def status_changed(self, *facts: object) -> None:
        """Nothing: the callback knows no status."""


class CallbackSpans:
    """A progress callback that opens a checkpoint for each step that a foreign pipeline reports.

    A callback says where the work is, not when it has ended: a step ends when the next is reported, or when the
    block is left. Epochs are reported at their end and lie between two reports.

    >>> with CallbackSpans() as progress_callback:
    ...     progress_callback(0, 0, {"progress_type": "preparation", "phase": "combining_data", "total_symbols": 5})
    """

    def __init__(self) -> None:
        self._open: Checkpoint | None = None
        self._epoch: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(kind, error, traceback)

    def __call__(self, epoch: int, total_epochs: int, metrics: Mapping[str, Any] | None = None) -> None:
        """The step that the dictionary describes has begun; an epoch or a batch has ended."""
        metrics = metrics or {}
        progress_type = metrics.get("progress_type", semconv.EPOCH)
        if progress_type == semconv.BATCH:
            self._be_in_epoch(epoch, total_epochs)
        elif progress_type == semconv.EPOCH:
            self._be_in_epoch(epoch, total_epochs)
            self._end_epoch(metrics)
        else:
            self._leave()
            self._enter(checkpoint(str(progress_type), **_keywords(progress_type, metrics)))

    def _be_in_epoch(self, epoch: int, total_epochs: int) -> None:
        if self._epoch != epoch:
            self._leave()
            self._enter(checkpoint(semconv.EPOCH, index=epoch + 1, total=total_epochs))
            self._epoch = epoch

    def _end_epoch(self, metrics: Mapping[str, Any]) -> None:
        named = {_METRIC_NAME.get(name, name): value for name, value in metrics.items()}
        known = {
            name: float(value)
            for name, value in named.items()
            if name in semconv.TRAINING_METRICS and isinstance(value, int | float)
        }
        if self._open is not None:
            self._open.record(known)
        self._leave()

    def _enter(self, made: Checkpoint) -> None:
        self._open = made.__enter__()

    def _leave(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        ended, self._open, self._epoch = self._open, None, None
        if ended is not None:
            ended.__exit__(kind, error, traceback)


def _keywords(progress_type: str, metrics: Mapping[str, Any]) -> Any:
    """The keywords of a checkpoint that the dictionary gives; what a checkpoint does not know is left out."""
    found = {key: value for key, value in metrics.items() if key in semconv.ATTRIBUTE_OF_KEY}
    if progress_type == semconv.PREPARATION and "phase" in metrics:
        found["step"] = metrics["phase"]
    return found
