"""The board **Training**: does it learn?"""

from grafana_foundation_sdk.builders import dashboard

from dashboards.board import board
from dashboards.operations import LINKS, PLACE
from dashboards.panels import NOTHING, grid, limited, lines, numbers, of_operations, query
from dashboards.queries import GPU, ID, PROGRESS_TYPE, WHO, latest, legend, mean_seconds
from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments as of

_EACH = legend(ID)
_EPOCHS = f'{{{PROGRESS_TYPE}="{semconv.EPOCH}"}}'


def training() -> dashboard.Dashboard:
    """The board."""
    return _machine(
        _learning(
            _which(_now(board("ktrdr-training", "Training", "Does it learn, and how long does it take?")))
        )
    )


def _now(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_row(dashboard.Row("Now"))
        .with_panel(
            numbers(
                "Epochs",
                "How many are finished?",
                "none",
                query(latest(of.EPOCH), _EACH),
                span=8,
                nothing=NOTHING,
            )
        )
        .with_panel(
            numbers(
                "Remaining",
                "How long will it still take?",
                "s",
                query(latest(of.REMAINING), _EACH),
                span=8,
                nothing=NOTHING,
            )
        )
        .with_panel(
            numbers(
                "Learning rate",
                "How large are its steps?",
                "sci",
                query(latest(of.LEARNING_RATE), _EACH),
                span=8,
                nothing=NOTHING,
            )
        )
    )


def _which(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return made.with_panel(
        grid(
            "Step under way",
            "Which operation, what is it at, and where is its trace?",
            query(latest(of.STEP_INFO, by=list(PLACE)), instant=True),
            columns=PLACE,
            links=LINKS,
            height=6,
        )
    )


def _learning(made: dashboard.Dashboard) -> dashboard.Dashboard:
    return (
        made.with_row(dashboard.Row("Does it learn?"))
        .with_panel(
            of_operations(
                lines(
                    "Loss",
                    "Does it fall, in training and validation alike?",
                    "none",
                    query(latest(of.LOSS), f"{_EACH} training"),
                    query(latest(of.VAL_LOSS), f"{_EACH} validation"),
                )
            )
        )
        .with_panel(
            of_operations(
                lines(
                    "Accuracy",
                    "Does it rise, in training and validation alike?",
                    "percentunit",
                    query(latest(of.ACCURACY), f"{_EACH} training"),
                    query(latest(of.VAL_ACCURACY), f"{_EACH} validation"),
                )
            )
        )
        .with_panel(
            lines(
                "Time per epoch",
                "Does an epoch take as long as ever?",
                "s",
                query(
                    mean_seconds(of.CHECKPOINT_DURATION, _EPOCHS, [PROGRESS_TYPE]),
                    "mean of all operations",
                    exemplars=True,
                ),
            ).min(0)
        )
        .with_panel(
            of_operations(
                lines(
                    "Learning rate over time",
                    "When did the schedule step?",
                    "sci",
                    query(latest(of.LEARNING_RATE), _EACH),
                )
            )
        )
    )


def _machine(made: dashboard.Dashboard) -> dashboard.Dashboard:
    # Who observes tells of its machine's GPUs: no server does that for it.
    busy, used, most = (
        f"max by ({WHO}, instance, {GPU}) ({each.series})"
        for each in (of.GPU_UTILIZATION, of.GPU_MEMORY, of.GPU_MEMORY_LIMIT)
    )
    which = f"{legend(WHO)} GPU {legend(GPU)}"
    return (
        made.with_row(dashboard.Row("Is the GPU busy?"))
        .with_panel(
            lines(
                "GPU",
                "How busy is each GPU?",
                "percentunit",
                query(busy, which),
                nothing="no GPU is seen",
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            limited(
                lines(
                    "GPU memory",
                    "How much of its memory is taken?",
                    "bytes",
                    query(used, which),
                    query(most, f"{which} limit"),
                    nothing="no GPU is seen",
                ),
                "limit",
            ).min(0)
        )
    )
