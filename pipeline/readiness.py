"""Whether a training can begin: every fault that can be known before it does is one line."""

from pathlib import Path

from pipeline.data import context_sources, find_external, load_bars
from pipeline.errors import InputError
from pipeline.strategy import Strategy


def check_bars(strategy: Strategy, folder: Path) -> None:
    """All bars and series that the strategy needs are there and usable; raises `InputError` for the first fault."""
    least = max(strategy.history_required, 2)
    for symbol in strategy.symbols:
        for timeframe in strategy.timeframes:
            # A higher timeframe has fewer bars for the same history.
            wanted = least if timeframe == strategy.base_timeframe else 2
            load_bars(folder, symbol, timeframe, strategy.start_date, strategy.end_date, wanted)
    timeframe_of = context_sources(strategy.context_data)
    for indicator in strategy.indicators.values():
        if indicator.data_source is not None:
            find_external(folder, indicator.data_source, timeframe_of.get(indicator.data_source))


def check_training(strategy: Strategy, epochs: int | None) -> None:
    """The network, the loss and the training settings can be made; raises `InputError`. Imports torch, whole."""
    from pipeline.device import warm_up
    from pipeline.losses import build_loss
    from pipeline.model import check_architecture
    from pipeline.train import TrainingSettings

    warm_up()
    try:
        check_architecture(strategy.model_type, strategy.architecture)
        TrainingSettings.from_mapping(strategy.training, epochs=epochs)
        build_loss(strategy.loss, strategy.training)
    except InputError as error:
        raise InputError(error.what, source=strategy.path, where=error.where, hint=error.hint) from error
