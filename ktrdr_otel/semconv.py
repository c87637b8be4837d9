"""Every name of a span, attribute, label and progress type, once: code, boards, alerts and tests have them from here.

Names follow OpenTelemetry's rules: lowercase, dotted, singular, in the namespace `ktrdr.`; no name is also a
namespace. The comment beside a name gives its unit and meaning.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SCOPE_NAME: Final = "ktrdr_otel"  # instrumentation scope of every span

OPERATION_ID: Final = "ktrdr.operation.id"  # on every span of the operation, or on its resource
OPERATION_TYPE: Final = "ktrdr.operation.type"  # root span: training, or any word
OPERATION_NAME: Final = "ktrdr.operation.name"  # root span: for people
OPERATION_STATUS: Final = "ktrdr.operation.status"  # root span, at its end: completed, failed, cancelled

PROGRESS_TYPE: Final = "ktrdr.progress.type"  # every unit of work
PROGRESS_RATIO: Final = "ktrdr.progress.ratio"  # 0-1, snapshots and the final root
PROGRESS_MESSAGE: Final = "ktrdr.progress.message"  # snapshots and the final root
SPAN_STATE: Final = (
    "ktrdr.span.state"  # one of the five below; a span that ended in the ordinary way has none
)
STATE_IN_PROGRESS: Final = "in_progress"  # a snapshot of an open span, which its final record will overwrite
STATE_STARTED: Final = (
    "started"  # a marker: the span is open, and its true end will be a child of this record
)
STATE_FINISHED: Final = "finished"  # that child: the true end of the span whose marker is its parent
STATE_LOST: Final = "lost"  # open when its process died, or left open by its program: nobody saw its end
STATE_CANCELLED: Final = "cancelled"  # left because somebody asked to stop: neither finished nor failed
STALLED_EVENT: Final = "ktrdr.stalled"  # nothing moved from here on, for longer than was allowed
STALL_ACTIVITY: Final = "ktrdr.stall.activity"  # on that event: what the process did meanwhile
STACKTRACE: Final = "code.stacktrace"  # OpenTelemetry's own; on that event: of all threads
RESUMED_EVENT: Final = "ktrdr.resumed"  # and here it went on
LOGGED_EVENT: Final = "ktrdr.logged"  # a warning, or worse, was logged in this span
LOG_LEVEL: Final = "ktrdr.log.level"  # on that event: WARNING, ERROR, CRITICAL
LOG_LOGGER: Final = "ktrdr.log.logger"
LOG_MESSAGE: Final = "ktrdr.log.message"
CODE_FILE_PATH: Final = "code.file.path"  # OpenTelemetry's own: where it was logged
CODE_LINE_NUMBER: Final = "code.line.number"
CODE_FUNCTION_NAME: Final = "code.function.name"
EXCEPTION_EVENT: Final = "exception"  # OpenTelemetry's own, as the next three: what the span failed of
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
ERROR_TYPE: Final = "error.type"  # OpenTelemetry's own: the exception's class

STEP: Final = "ktrdr.step"  # the pipeline's step
SYMBOL_NAME: Final = "ktrdr.symbol.name"
SYMBOL_INDEX: Final = "ktrdr.symbol.index"  # 1-based
SYMBOL_TOTAL: Final = "ktrdr.symbol.total"
TIMEFRAME: Final = "ktrdr.timeframe"  # 5m, 1h, 1d
ITEM_NAME: Final = "ktrdr.item.name"  # indicator, fuzzy set, or any item
ITEM_INDEX: Final = "ktrdr.item.index"  # 1-based; epochs too
ITEM_TOTAL: Final = "ktrdr.item.total"
SAMPLE_TOTAL: Final = "ktrdr.sample.total"  # rows that are split
MODEL_INPUT_DIMENSION: Final = "ktrdr.model.input_dimension"  # features that the network reads
HOLD_ALLOWANCE: Final = "ktrdr.hold.allowance"  # s, of a declared long opaque call

TRAINING_LOSS: Final = "ktrdr.training.loss"
TRAINING_ACCURACY: Final = "ktrdr.training.accuracy"  # 0-1
TRAINING_LEARNING_RATE: Final = "ktrdr.training.learning_rate"
TRAINING_VAL_LOSS: Final = "ktrdr.training.val_loss"
TRAINING_VAL_ACCURACY: Final = "ktrdr.training.val_accuracy"  # 0-1

# Labels of metrics alone: no span has them.
PHASE: Final = (
    "ktrdr.phase"  # preprocessing, preparation, training, evaluation, or a word given to `checkpoint`
)
TRACE_ID: Final = "ktrdr.trace.id"  # the way from a board to the trace; none where its spans are not sampled
GPU_INDEX: Final = "ktrdr.gpu.index"  # as the driver counts them, from 0
SIGNAL: Final = "ktrdr.otel.signal"  # checkpoint, log, span
CAUSE: Final = "ktrdr.otel.cause"  # why it was dropped
PART: Final = "ktrdr.otel.part"  # of the plugin

PREPROCESSING: Final = "preprocessing"
INDICATOR_COMPUTATION: Final = "indicator_computation"
FUZZY_GENERATION: Final = "fuzzy_generation"
PREPARATION: Final = "preparation"
EPOCH: Final = "epoch"
EVALUATION: Final = "evaluation"
BATCH: Final = "batch"  # only in progress callbacks: a batch is a tick, never a span
HOLD: Final = "hold"  # a declared long opaque call: shown, not counted

LOADING_DATA: Final = "loading_data"
COMPUTING_INDICATOR: Final = "computing_indicator"
GENERATING_FUZZY: Final = "generating_fuzzy"
CREATING_FEATURES: Final = "creating_features"
GENERATING_LABELS: Final = "generating_labels"
COMBINING_DATA: Final = "combining_data"
SPLITTING_DATA: Final = "splitting_data"
CREATING_MODEL: Final = "creating_model"

OPERATION_SPAN: Final = "operation"
SYMBOL_SPAN: Final = "symbol"
TIMEFRAME_SPAN: Final = "timeframe"
TRAINING_SPAN: Final = "training"

# Containers open spans that hold units; they carry no progress type and count nothing.
CONTAINERS: Final = frozenset({SYMBOL_SPAN, TIMEFRAME_SPAN, TRAINING_SPAN})

# A progress type that is always the same step.
STEP_OF_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {INDICATOR_COMPUTATION: COMPUTING_INDICATOR, FUZZY_GENERATION: GENERATING_FUZZY}
)

# The keyword of a checkpoint or key of a callback's dictionary -> the attribute that carries it.
ATTRIBUTE_OF_KEY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "step": STEP,
        "preprocessing_step": STEP,
        "preparation_phase": STEP,
        "symbol": SYMBOL_NAME,
        "symbol_index": SYMBOL_INDEX,
        "total_symbols": SYMBOL_TOTAL,
        "timeframe": TIMEFRAME,
        "item": ITEM_NAME,
        "index": ITEM_INDEX,
        "total": ITEM_TOTAL,
        "indicator_name": ITEM_NAME,
        "indicator_index": ITEM_INDEX,
        "total_indicators": ITEM_TOTAL,
        "fuzzy_set_name": ITEM_NAME,
        "fuzzy_index": ITEM_INDEX,
        "total_fuzzy_sets": ITEM_TOTAL,
        "epoch_index": ITEM_INDEX,
        "total_epochs": ITEM_TOTAL,
        "total_samples": SAMPLE_TOTAL,
        "input_dim": MODEL_INPUT_DIMENSION,
    }
)

# The other direction: what an attribute is called in the context of a progress type.
_COMMON_KEYS: Final = {
    HOLD_ALLOWANCE: "allowance_seconds",
    SYMBOL_NAME: "symbol",
    SYMBOL_INDEX: "symbol_index",
    SYMBOL_TOTAL: "total_symbols",
    TIMEFRAME: "timeframe",
    SAMPLE_TOTAL: "total_samples",
    MODEL_INPUT_DIMENSION: "input_dim",
}
_ANY_KEYS: Final = _COMMON_KEYS | {
    STEP: "step",
    ITEM_NAME: "item",
    ITEM_INDEX: "index",
    ITEM_TOTAL: "total",
}
KEY_OF_ATTRIBUTE: Final[Mapping[str | None, Mapping[str, str]]] = MappingProxyType(
    {
        PREPROCESSING: _COMMON_KEYS | {STEP: "preprocessing_step"},
        INDICATOR_COMPUTATION: _COMMON_KEYS
        | {
            STEP: "preprocessing_step",
            ITEM_NAME: "indicator_name",
            ITEM_INDEX: "indicator_index",
            ITEM_TOTAL: "total_indicators",
        },
        FUZZY_GENERATION: _COMMON_KEYS
        | {
            STEP: "preprocessing_step",
            ITEM_NAME: "fuzzy_set_name",
            ITEM_INDEX: "fuzzy_index",
            ITEM_TOTAL: "total_fuzzy_sets",
        },
        PREPARATION: _COMMON_KEYS | {STEP: "preparation_phase"},
        EPOCH: _COMMON_KEYS | {ITEM_INDEX: "epoch_index", ITEM_TOTAL: "total_epochs"},
    }
)


def context_keys(progress_type: str | None) -> Mapping[str, str]:
    """Attribute name -> context key, for spans of a progress type."""
    return KEY_OF_ATTRIBUTE.get(progress_type, _ANY_KEYS)


# Metrics of an epoch: the callback's key -> the attribute.
TRAINING_METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "loss": TRAINING_LOSS,
        "accuracy": TRAINING_ACCURACY,
        "learning_rate": TRAINING_LEARNING_RATE,
        "val_loss": TRAINING_VAL_LOSS,
        "val_accuracy": TRAINING_VAL_ACCURACY,
    }
)
