"""The grammar of a v3 strategy file, as pydantic models: shapes and ranges, no references between parts."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)


def _as_text(value: object) -> object:
    """YAML reads 1 and 2024-01-01 as number and date where a text is meant."""
    return str(value) if isinstance(value, int | float | date) and not isinstance(value, bool) else value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("an id has no line breaks and no control characters")
    return text


# Ids become parts of messages, of span names and of lines on a terminal.
Id = Annotated[str, AfterValidator(_printable), Field(min_length=1)]
Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
# What the training and the losses read of the training section; `test_strategy_load` holds it to their fields.
TRAINING_KEYS = frozenset(
    {
        "epochs",
        "batch_size",
        "learning_rate",
        "optimizer",
        "weight_decay",
        "gradient_clip",
        "early_stopping",
        "lr_scheduler",
        "focal_gamma",
        "huber_delta",
    }
)
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the file; keys that it does not know are kept aside and reported, not lost."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Symbols(Section):
    """Which symbols to train on."""

    mode: Literal["single", "multi", "multi_symbol"] = "single"
    symbol: Text | None = None
    symbols: list[Text] | None = Field(default=None, validation_alias=AliasChoices("symbols", "list"))

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols in order."""
        return tuple(self.symbols or ([self.symbol] if self.symbol else []))


class Timeframes(Section):
    """Which bars to look at, and on which of them the samples lie."""

    mode: Literal["single", "multi", "multi_timeframe"] = "single"
    timeframe: Text | None = None
    timeframes: list[Text] | None = Field(default=None, validation_alias=AliasChoices("timeframes", "list"))
    base_timeframe: Text | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The timeframes in order."""
        return tuple(self.timeframes or ([self.timeframe] if self.timeframe else []))


class DateRange(Section):
    """From when to when, both included."""

    start: Text | None = None
    end: Text | None = None


class TrainingData(Section):
    """What to train on."""

    symbols: Symbols
    timeframes: Timeframes
    date_range: DateRange | None = None
    start_date: Text | None = None
    end_date: Text | None = None
    history_required: Annotated[int, Field(ge=0)] = 0


class NnInput(Section):
    """One group of features: the memberships of a fuzzy set, or the values of an indicator."""

    fuzzy_set: Text | None = None
    raw_indicator: Text | None = None
    timeframes: Literal["all"] | Annotated[list[Text], Field(min_length=1)] = "all"
    normalization: Literal["zscore", "minmax", "none"] | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "NnInput":
        if (self.fuzzy_set is None) == (self.raw_indicator is None):
            raise ValueError("give either fuzzy_set or raw_indicator")
        if self.fuzzy_set is not None and self.normalization is not None:
            raise ValueError("degrees of membership are not normalised: normalization is for raw_indicator")
        return self


class Model(Section):
    """The network."""

    type: Literal["mlp", "lstm"]
    architecture: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class DataSplit(Section):
    """Shares of the rows, in order of time."""

    train: Share = 0.7
    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _is_whole(self) -> "DataSplit":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"shares must sum to 1, not {self.train + self.validation + self.test:g}")
        if not self.train or not self.validation or not self.test:
            raise ValueError("each of train, validation and test needs a share above 0")
        return self


class Training(Section):
    """How to train; what the optimiser needs is read by `TrainingSettings`."""

    labels: dict[str, Any] = Field(default_factory=dict)
    loss: Literal["cross_entropy", "focal", "huber"] | None = None
    data_split: DataSplit = Field(default_factory=DataSplit)


class StrategyFile(Section):
    """The whole file."""

    name: Text
    version: Text = "3.0"
    description: str | None = None
    training_data: TrainingData
    context_data: list[dict[str, Any]] | None = None
    indicators: dict[Id, dict[str, Any]] = Field(min_length=1)
    fuzzy_sets: dict[Id, dict[Id, Any]] = Field(default_factory=dict)
    nn_inputs: list[NnInput] = Field(min_length=1)
    model: Model
    decisions: dict[str, Any] = Field(default_factory=dict)
    training: Training = Field(default_factory=Training)
