"""The board **Training**: does it learn?"""

from grafana_foundation_sdk.builders import dashboard

from dashboards.board import board
from dashboards.panels import lines, numbers, query
from dashboards.queries import ID, PROGRESS_TYPE, latest, mean_seconds
from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments as of

_EPOCHS = f'{{{PROGRESS_TYPE}="{semconv.EPOCH}"}}'


def training() -> dashboard.Dashboard:
    """The board."""
    who = f"{{{{{ID}}}}}"
    return (
        board("ktrdr-training", "Training", "Does it learn, and how long does an epoch take?")
        .with_panel(numbers("Epochs", "How many are finished?", "none", query(latest(of.EPOCH), who), span=8))
        .with_panel(
            numbers(
                "Remaining", "How long will it still take?", "s", query(latest(of.REMAINING), who), span=8
            )
        )
        .with_panel(
            numbers(
                "Learning rate",
                "How large are its steps?",
                "none",
                query(latest(of.LEARNING_RATE), who),
                span=8,
            )
        )
        .with_panel(
            lines(
                "Loss",
                "Does it fall, in training and validation alike?",
                "none",
                query(latest(of.LOSS), f"training {who}"),
                query(latest(of.VAL_LOSS), f"validation {who}"),
            )
        )
        .with_panel(
            lines(
                "Accuracy",
                "Does it rise, in training and validation alike?",
                "percentunit",
                query(latest(of.ACCURACY), f"training {who}"),
                query(latest(of.VAL_ACCURACY), f"validation {who}"),
            )
        )
        .with_panel(
            lines(
                "Time per epoch",
                "Does an epoch take as long as ever?",
                "s",
                query(
                    mean_seconds(of.CHECKPOINT_DURATION, _EPOCHS, [PROGRESS_TYPE], "$__rate_interval"),
                    "epoch",
                    exemplars=True,
                ),
            )
        )
        .with_panel(
            lines(
                "Learning rate over time",
                "When did the schedule step?",
                "none",
                query(latest(of.LEARNING_RATE), who),
            )
        )
    )
