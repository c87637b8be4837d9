"""One table from `ktrdr.progress.type` to a method of the bridge, for spans and callbacks alike."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from ktrdr_otel import semconv
from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.callback import callback_metrics
from ktrdr_otel.progress.events import Tick, Unit

Route = Callable[[TrainingProgressBridge, Mapping[str, Any]], None]


def _symbol(bridge: TrainingProgressBridge, context: Mapping[str, Any]) -> None:
    rest = {key: value for key, value in context.items() if key not in _SYMBOL_ARGUMENTS}
    bridge.on_symbol_processing(
        context.get("symbol", "?"),
        context.get("symbol_index", 1),
        context.get("total_symbols", 1),
        context.get("preprocessing_step") or context.get("step", semconv.PREPROCESSING),
        rest,
    )


def _indicator(bridge: TrainingProgressBridge, context: Mapping[str, Any]) -> None:
    bridge.on_indicator_computation(
        context.get("symbol", "?"),
        context.get("symbol_index", 1),
        context.get("total_symbols", 1),
        context.get("timeframe", "?"),
        context.get("indicator_name", "?"),
        context.get("indicator_index", 1),
        context.get("total_indicators", 1),
    )


def _fuzzy(bridge: TrainingProgressBridge, context: Mapping[str, Any]) -> None:
    bridge.on_fuzzy_generation(
        context.get("symbol", "?"),
        context.get("symbol_index", 1),
        context.get("total_symbols", 1),
        context.get("timeframe", "?"),
        context.get("fuzzy_set_name", "?"),
        context.get("fuzzy_index", 1),
        context.get("total_fuzzy_sets", 1),
    )


def _preparation(bridge: TrainingProgressBridge, context: Mapping[str, Any]) -> None:
    phase = context.get("preparation_phase") or context.get("phase") or semconv.PREPARATION
    bridge.on_preparation_phase(phase, context=_without(context, "phase", "progress_type"))


def _epoch_start(bridge: TrainingProgressBridge, context: Mapping[str, Any]) -> None:
    # Attributes count epochs from 1, the bridge from 0.
    bridge.on_epoch_started(context.get("epoch_index", 1) - 1, context.get("total_epochs", 1))


_SYMBOL_ARGUMENTS: Final = frozenset(
    {"symbol", "symbol_index", "total_symbols", "preprocessing_step", "step", "progress_type"}
)
_PLACE: Final = ("symbol", "symbol_index", "total_symbols")
ROUTES: Final[Mapping[str, Route]] = {
    semconv.PREPROCESSING: _symbol,
    semconv.INDICATOR_COMPUTATION: _indicator,
    semconv.FUZZY_GENERATION: _fuzzy,
    semconv.PREPARATION: _preparation,
    semconv.EPOCH: _epoch_start,
}


def route_started(bridge: TrainingProgressBridge, unit: Unit) -> None:
    """The bridge says where the work is; a container, which has no progress type, says nothing."""
    progress_type = unit.progress_type
    if progress_type is None:
        return
    route = ROUTES.get(progress_type)
    if route is not None:
        route(bridge, unit.context)
    else:
        bridge.on_item(progress_type, unit.context)


def route_finished(bridge: TrainingProgressBridge, unit: Unit) -> None:
    """The bridge hears of the end of an epoch, with its metrics; of other ends the plan keeps count."""
    if unit.progress_type != semconv.EPOCH or not unit.is_finished_work:
        return
    index, total = unit.context.get("epoch_index"), unit.context.get("total_epochs")
    bridge.on_epoch(
        (index if isinstance(index, int) else 1) - 1,
        total if isinstance(total, int) else None,
        {"progress_type": semconv.EPOCH, **callback_metrics(unit.metrics or {})},
    )


def route_tick(bridge: TrainingProgressBridge, tick: Tick) -> None:
    """Inside an epoch a turn is a batch, elsewhere a unit of the loop's own word."""
    if tick.count == 0:
        return
    if tick.epoch_index is not None:
        bridge.on_batch(tick.epoch_index, tick.count - 1, tick.total)
    else:
        bridge.on_loop(tick.unit, tick.count, tick.total, {"index": tick.count, "total": tick.total})


def route_callback(
    bridge: TrainingProgressBridge, epoch: int, total_epochs: int, metrics: Mapping[str, Any] | None = None
) -> None:
    """The seed's callback: `metrics["progress_type"]` decides; without one it is an epoch."""
    metrics = metrics or {}
    progress_type = metrics.get("progress_type")
    if progress_type == semconv.BATCH:
        bridge.on_batch(epoch, metrics.get("batch", 0), metrics.get("total_batches_per_epoch"), metrics)
    elif progress_type is None or progress_type == semconv.EPOCH:
        bridge.on_epoch(epoch, total_epochs, metrics)
    elif progress_type in ROUTES:
        ROUTES[progress_type](bridge, _with_symbol(bridge, metrics))
    else:
        bridge.on_item(progress_type, _without(metrics, "progress_type"))


def _with_symbol(bridge: TrainingProgressBridge, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """The seed's pipeline says which symbol it is at when it loads it, and not with every step after that."""
    if "symbol_index" in metrics:
        return metrics
    latest = bridge.current_context
    if "symbol" not in latest or metrics.get("symbol", latest["symbol"]) != latest["symbol"]:
        return metrics
    return {**{key: latest[key] for key in _PLACE if key in latest}, **metrics}


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}
