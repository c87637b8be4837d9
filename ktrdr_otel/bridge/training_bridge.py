"""Training events become progress: the seed's bridge, with a plan where there is one."""

from collections.abc import Callable, Mapping
from typing import Any

from ktrdr_otel import semconv
from ktrdr_otel.bridge.progress_bridge import ProgressBridge
from ktrdr_otel.bridge.remote_snapshot import RemoteSnapshot, whole
from ktrdr_otel.progress import messages
from ktrdr_otel.progress.manager import GenericProgressManager
from ktrdr_otel.progress.plan import Plan

_PRE_TRAINING = 5.0  # percent
_TRAINING = 90.0  # percent
_STEP_NUMBER = {
    semconv.LOADING_DATA: 0,
    "computing_indicators": 1,
    semconv.COMPUTING_INDICATOR: 1,
    semconv.GENERATING_FUZZY: 2,
    semconv.CREATING_FEATURES: 3,
    semconv.GENERATING_LABELS: 4,
}
_STEPS_OF_A_SYMBOL = 5
_DEFAULT_STRIDE = 10


class TrainingProgressBridge(ProgressBridge):
    """Translates what a training does into states of a progress manager or calls of a callback.

    Of `context` it reads `total_epochs`, `total_batches`, `session_id` and `training_config` (its
    `progress.batch_stride`), nothing else. Symbols, indicators and fuzzy sets are counted from 1, epochs and
    batches from 0. Every method but `on_cancellation` first asks the token, and raises `CancellationError`
    before anything is told. The percentage never falls, from whatever threads the calls come.
    """

    def __init__(
        self,
        *,
        context: Any,
        progress_manager: GenericProgressManager | None = None,
        update_progress_callback: Callable[..., None] | None = None,
        cancellation_token: Any = None,
        batch_update_stride: int | None = None,
        plan: Plan | None = None,
    ) -> None:
        super().__init__(progress_manager, update_progress_callback, cancellation_token, plan)
        self._context = context
        self._total_epochs = max(getattr(context, "total_epochs", 0) or 0, 1)
        self._total_batches = getattr(context, "total_batches", None)
        self._batch_stride = _stride(batch_update_stride, getattr(context, "training_config", None))

    def __call__(self, epoch: int, batch: int, metrics: dict[str, Any]) -> None:
        """As a progress callback it takes batches."""
        self.on_batch(epoch=epoch, batch=batch, metrics=metrics)

    def on_symbol_processing(
        self,
        symbol: str,
        symbol_index: int,
        total_symbols: int,
        step: str,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """A symbol has reached that step: `Processing AAPL (2/5) - Loading data`."""
        fraction = _STEP_NUMBER.get(step, 0) / _STEPS_OF_A_SYMBOL
        timeframe = (context or {}).get("timeframe")
        self._pre_training(
            semconv.PREPROCESSING,
            messages.symbol_step(symbol, symbol_index, total_symbols, step, timeframe),
            symbol_index,
            total_symbols,
            fraction,
            {
                "preprocessing_step": step,
                "symbol": symbol,
                "symbol_index": symbol_index,
                "total_symbols": total_symbols,
                **(context or {}),
            },
        )

    def on_indicator_computation(
        self,
        symbol: str,
        symbol_index: int,
        total_symbols: int,
        timeframe: str,
        indicator_name: str,
        indicator_index: int,
        total_indicators: int,
    ) -> None:
        """That indicator is about to be computed: `Processing AAPL (2/5) [1h] - Computing RSI (15/40)`."""
        self._pre_training(
            semconv.INDICATOR_COMPUTATION,
            f"Processing {symbol} ({symbol_index}/{total_symbols}) [{timeframe}] - "
            f"Computing {indicator_name} ({indicator_index}/{total_indicators})",
            symbol_index,
            total_symbols,
            indicator_index / max(total_indicators, 1),
            {
                "preprocessing_step": semconv.COMPUTING_INDICATOR,
                "symbol": symbol,
                "symbol_index": symbol_index,
                "total_symbols": total_symbols,
                "timeframe": timeframe,
                "indicator_name": indicator_name,
                "indicator_index": indicator_index,
                "total_indicators": total_indicators,
            },
        )

    def on_fuzzy_generation(
        self,
        symbol: str,
        symbol_index: int,
        total_symbols: int,
        timeframe: str,
        fuzzy_set_name: str,
        fuzzy_index: int,
        total_fuzzy_sets: int,
    ) -> None:
        """That fuzzy set is about to be applied: `Processing AAPL (2/5) [1h] - Fuzzifying rsi_14 (10/40)`."""
        self._pre_training(
            semconv.FUZZY_GENERATION,
            f"Processing {symbol} ({symbol_index}/{total_symbols}) [{timeframe}] - "
            f"Fuzzifying {fuzzy_set_name} ({fuzzy_index}/{total_fuzzy_sets})",
            symbol_index,
            total_symbols,
            fuzzy_index / max(total_fuzzy_sets, 1),
            {
                "preprocessing_step": semconv.GENERATING_FUZZY,
                "symbol": symbol,
                "symbol_index": symbol_index,
                "total_symbols": total_symbols,
                "timeframe": timeframe,
                "fuzzy_set_name": fuzzy_set_name,
                "fuzzy_index": fuzzy_index,
                "total_fuzzy_sets": total_fuzzy_sets,
            },
        )

    def on_preparation_phase(
        self, phase: str, message: str | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        """Data of all symbols are combined, split, or a model is made from them."""
        self._check_cancelled()
        self._emit(
            current_step=0,
            percentage=_PRE_TRAINING,
            message=message or messages.preparation(phase, context or {}),
            items_processed=0,
            phase="preparation",
            progress_type=semconv.PREPARATION,
            context={**(context or {}), "preparation_phase": phase},
        )

    def on_epoch_started(self, epoch: int, total_epochs: int) -> None:
        """The epoch has begun: its number is shown, nothing is finished."""
        self._check_cancelled()
        self._total_epochs = max(total_epochs, self._total_epochs)
        self._emit(
            current_step=epoch,
            percentage=self._last_percentage,
            message=messages.epoch(epoch + 1, self._total_epochs),
            items_processed=self._last_items_processed,
            phase="epoch",
            progress_type=semconv.EPOCH,
            context={"epoch_index": epoch + 1, "total_epochs": self._total_epochs},
        )

    def on_epoch(
        self, epoch: int, total_epochs: int | None = None, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """The epoch is finished, with these metrics."""
        self._check_cancelled()
        metrics = metrics or {}
        index = max(1, epoch + 1)
        self._total_epochs = max(total_epochs or 0, self._total_epochs)
        self._learn_total_batches(metrics)
        completed = metrics.get("completed_batches")
        per_epoch = metrics.get("total_batches_per_epoch")
        if completed is None and per_epoch is not None:
            completed = index * per_epoch
        items = self._clamp_items_processed(completed)
        self._emit(
            current_step=index,
            percentage=self._derive_percentage(items, index),
            message=messages.epoch(index, self._total_epochs),
            items_processed=items,
            phase="epoch",
            progress_type=semconv.EPOCH,
            context={"epoch_index": index, "total_epochs": self._total_epochs, "epoch_metrics": metrics},
        )
        if metrics.get("progress_type") == semconv.EPOCH:
            self._metrics.append({"epoch": metrics.get("epoch", epoch), **_epoch_metrics(metrics)})

    def on_batch(
        self,
        epoch: int,
        batch: int,
        total_batches: int | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """The batch is finished; told at the first, the last two and every `batch_update_stride`-th."""
        self._check_cancelled()
        metrics = metrics or {}
        index, number = max(1, epoch + 1), max(1, batch + 1)
        per_epoch = total_batches or metrics.get("total_batches_per_epoch")
        self._learn_total_batches(metrics)
        completed = metrics.get("completed_batches")
        if completed is None:
            completed = number - 1 if per_epoch is None else (index - 1) * per_epoch + number - 1
        items = self._clamp_items_processed(completed + 1)
        if not self._tells_batch(items, number, per_epoch):
            return
        if self._plan is not None and per_epoch:
            self._plan.partly(semconv.EPOCH, number / per_epoch)
        # ktrdr's consumers show the last but one batch as the last.
        shown = number if per_epoch and per_epoch > 1 and number == per_epoch - 1 else batch
        self._emit(
            current_step=self._estimate_step(items),
            percentage=self._percentage_in_epoch(items, index, per_epoch),
            message=messages.epoch(index, self._total_epochs, number, per_epoch),
            items_processed=items,
            phase="batch",
            progress_type=semconv.EPOCH,
            context={
                "epoch_index": index,
                "total_epochs": self._total_epochs,
                "batch_index": shown,
                "batch_number": number,
                "batch_total_per_epoch": per_epoch,
                "current_item": f"Epoch {index} · Batch {number}/{per_epoch or '?'}",
                "batch_metrics": metrics,
            },
        )

    def on_item(self, progress_type: str, context: Mapping[str, Any]) -> None:
        """A unit of any other type is under way; its phase is its word."""
        self._check_cancelled()
        self._emit(
            current_step=self._last_epoch_step,
            percentage=self._last_percentage,
            message=messages.describe(progress_type, context),
            items_processed=self._last_items_processed,
            phase=self._phase or progress_type if progress_type == semconv.HOLD else progress_type,
            progress_type=progress_type,
            context=context,
        )

    def on_loop(self, word: str, count: int, total: int | None, context: Mapping[str, Any]) -> None:
        """A tracked loop outside of any epoch has finished that many turns."""
        self._check_cancelled()
        if self._plan is not None:
            self._plan.reach(word, count)
        self._emit(
            current_step=self._last_epoch_step,
            percentage=self._last_percentage,
            message=messages.item(word, {"index": count, "total": total or "?"}),
            items_processed=count,
            phase=word,
            progress_type=word,
            context=context,
        )

    def on_phase(self, phase_name: str, *, message: str | None = None) -> None:
        """A phase of any name has begun; the percentage stays."""
        self._check_cancelled()
        self._stay(message or messages.sentence(phase_name), {"phase_name": phase_name})

    def on_cancellation(
        self, *, message: str | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        """The operation was cancelled; told although the token is cancelled."""
        self._stay(message or "Training cancelled", {"phase_name": "cancelled", **(context or {})})

    def on_complete(self, message: str = "Training complete") -> None:
        """The operation is at 100 %."""
        self._check_cancelled()
        if self._plan is not None:
            self._plan.complete()
        items = self._total_batches
        self._emit(
            current_step=self._total_epochs,
            percentage=100.0,
            message=message,
            items_processed=max(self._last_items_processed, self._total_epochs) if items is None else items,
            phase="completed",
            progress_type=None,
            context={},
        )

    def on_remote_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """A training elsewhere says where it is; its own percentage is taken as it is."""
        self._check_cancelled()
        told = RemoteSnapshot.read(snapshot)
        index = self._last_epoch_step if told.epoch is None or told.epoch < 0 else told.epoch
        self._total_epochs = max(told.total_epochs or 0, self._total_epochs)
        self._total_batches = told.total_items or self._total_batches
        items, per_epoch = self._clamp_items_processed(told.items), told.batches_per_epoch
        batch = (items - 1) % per_epoch + 1 if items and per_epoch else None
        percentage = told.percent
        if percentage is None:
            percentage = self._derive_percentage(items, index) if items or index else self._last_percentage
        here = messages.epoch(index, self._total_epochs, batch, per_epoch) if index else None
        self._emit(
            current_step=index,
            percentage=percentage,
            message=told.message or here or "Polling host session",
            items_processed=items,
            phase="remote_snapshot",
            progress_type=semconv.EPOCH if index else None,
            context={
                **told.context,
                "host_session_id": told.session_id or self._session_id(),
                "epoch_index": index,
                "total_epochs": self._total_epochs,
                "batch_number": batch,
                "batch_total_per_epoch": per_epoch,
            },
        )

    def _pre_training(
        self,
        progress_type: str,
        message: str,
        index: int,
        total: int,
        fraction: float,
        context: dict[str, Any],
    ) -> None:
        self._check_cancelled()
        percentage = (index - 1 + fraction) / max(total, 1) * _PRE_TRAINING
        self._emit(
            current_step=0,
            percentage=min(percentage, _PRE_TRAINING),
            message=message,
            items_processed=index,
            phase="preprocessing",
            progress_type=progress_type,
            context=context,
        )

    def _stay(self, message: str, context: Mapping[str, Any]) -> None:
        session_id = self._session_id()
        self._emit(
            current_step=self._last_epoch_step,
            percentage=self._last_percentage,
            message=message,
            items_processed=self._last_items_processed,
            phase="phase",
            progress_type=None,
            context={**({"host_session_id": session_id} if session_id else {}), **context},
        )

    def _session_id(self) -> str | None:
        return getattr(self._context, "session_id", None)

    def _learn_total_batches(self, metrics: Mapping[str, Any]) -> None:
        per_epoch = metrics.get("total_batches_per_epoch")
        derived = None if per_epoch is None else per_epoch * self._total_epochs
        self._total_batches = metrics.get("total_batches") or self._total_batches or derived

    def _clamp_items_processed(self, value: int | None) -> int:
        if value is None:
            return self._last_items_processed
        return max(0, value if self._total_batches is None else min(value, self._total_batches))

    def _estimate_step(self, items: int) -> int:
        if not self._total_batches:
            return self._last_epoch_step
        return min(self._total_epochs, int(items / self._total_batches * self._total_epochs))

    def _derive_percentage(self, items: int, epoch_index: int) -> float:
        ratio = items / self._total_batches if self._total_batches else epoch_index / self._total_epochs
        return _PRE_TRAINING + _TRAINING * max(0.0, min(ratio, 1.0))

    def _percentage_in_epoch(self, items: int, epoch_index: int, per_epoch: int | None) -> float:
        if self._total_batches is None and per_epoch:
            ratio = items / (per_epoch * self._total_epochs)
            return _PRE_TRAINING + _TRAINING * max(0.0, min(ratio, 1.0))
        # Where nobody says how many batches there are, the epoch under way counts only at its end.
        return self._derive_percentage(items, epoch_index - 1)

    def _tells_batch(self, items: int, number: int, per_epoch: int | None) -> bool:
        if number == 1 or number % self._batch_stride == 0:
            return True
        if per_epoch and number >= per_epoch - 1:
            return True
        return bool(self._total_batches and items >= self._total_batches)


def _epoch_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "duration",
        "timestamp",
    )
    return {name: metrics.get(name) for name in names}


def _stride(given: int | None, training_config: Any) -> int:
    if given is None and isinstance(training_config, Mapping):
        progress = training_config.get("progress")
        given = progress.get("batch_stride") if isinstance(progress, Mapping) else None
    return max(whole(given) or _DEFAULT_STRIDE, 1)
