"""The words for a step, exactly as the seed has them."""

from collections.abc import Mapping
from typing import Any

from ktrdr_otel import semconv

_STEPS = {
    semconv.LOADING_DATA: "Loading data",
    semconv.COMPUTING_INDICATOR: "Computing indicators",
    semconv.GENERATING_FUZZY: "Generating fuzzy memberships",
    semconv.CREATING_FEATURES: "Creating features",
    semconv.GENERATING_LABELS: "Generating labels",
}


def sentence(word: str) -> str:
    """The word in sentence case.

    >>> sentence("combining_data")
    'Combining data'
    """
    words = word.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def processing(symbol: object, index: object, total: object, timeframe: object = None) -> str:
    """What every message of a symbol begins with.

    >>> processing("AAPL", 2, 5, "1h")
    'Processing AAPL (2/5) [1h]'
    """
    place = f"Processing {symbol} ({index}/{total})"
    return place if timeframe is None else f"{place} [{timeframe}]"


def symbol_step(symbol: str, index: int, total: int, step: str, timeframe: object = None) -> str:
    """A step of a symbol: `Processing AAPL (2/5) [1h] - Loading data`."""
    return f"{processing(symbol, index, total, timeframe)} - {_STEPS.get(step) or sentence(step)}"


def preparation(phase: str, context: Mapping[str, Any]) -> str:
    """A preparation step, with the number that it is about where the context has it.

    >>> preparation("splitting_data", {"total_samples": 15847})
    'Splitting 15847 samples (train/val/test)'
    """
    if phase == semconv.COMBINING_DATA and "total_symbols" in context:
        return f"Combining data from {context['total_symbols']} symbols"
    if phase == semconv.SPLITTING_DATA and "total_samples" in context:
        return f"Splitting {context['total_samples']} samples (train/val/test)"
    if phase == semconv.CREATING_MODEL and "input_dim" in context:
        return f"Creating model (input_dim={context['input_dim']})"
    return sentence(phase)


def item(word: str, context: Mapping[str, Any]) -> str:
    """Any other unit.

    >>> item("load", {"item": "MSFT", "index": 3, "total": 10})
    'Load MSFT (3/10)'
    """
    text = sentence(word)
    if (name := context.get("item")) is not None:
        text = f"{text} {name}"
    if (index := context.get("index")) is None:
        return text
    return f"{text} ({index}/{context.get('total', '?')})"


def epoch(index: int, total: int, batch: int | None = None, batches: int | None = None) -> str:
    """An epoch, counted from 1, and the batch inside it.

    >>> epoch(5, 100, 120, 500)
    'Epoch 5/100 · Batch 120/500'
    """
    text = f"Epoch {index}/{total}"
    return text if batch is None else f"{text} · Batch {batch}/{batches or '?'}"


def describe(progress_type: str | None, context: Mapping[str, Any]) -> str:
    """The words for a unit of that type, whatever its context lacks."""
    if progress_type == semconv.PREPARATION:
        return preparation(str(context.get("preparation_phase", "preparation")), context)
    if progress_type == semconv.EPOCH:
        return epoch(context.get("epoch_index", 1), context.get("total_epochs", "?"))
    if progress_type == semconv.EVALUATION:
        return "Evaluating model"
    if progress_type == semconv.HOLD:
        return str(context.get("item", "Waiting"))
    symbol = context.get("symbol")
    if symbol is None or progress_type not in _OF_SYMBOLS:
        return item(progress_type or "work", context)
    place = processing(
        symbol, context.get("symbol_index", "?"), context.get("total_symbols", "?"), context.get("timeframe")
    )
    if progress_type == semconv.INDICATOR_COMPUTATION:
        count = f"{context.get('indicator_index', '?')}/{context.get('total_indicators', '?')}"
        return f"{place} - Computing {context.get('indicator_name', '?')} ({count})"
    if progress_type == semconv.FUZZY_GENERATION:
        count = f"{context.get('fuzzy_index', '?')}/{context.get('total_fuzzy_sets', '?')}"
        return f"{place} - Fuzzifying {context.get('fuzzy_set_name', '?')} ({count})"
    step = str(context.get("preprocessing_step", progress_type))
    return f"{place} - {_STEPS.get(step) or sentence(step)}"


_OF_SYMBOLS = frozenset({semconv.PREPROCESSING, semconv.INDICATOR_COMPUTATION, semconv.FUZZY_GENERATION})
