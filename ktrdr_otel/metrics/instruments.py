"""Every metric, once: name, kind, unit, meaning and labels. Both faces, boards, alerts and tests take them from here.

A name is OpenTelemetry's; `prometheus_name` is what Prometheus makes of it, so that both faces meet in one series name.
Every label is an attribute of `semconv`, with dots as underscores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ktrdr_otel import semconv


class Kind(StrEnum):
    """What a metric is."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


_UNIT_SUFFIX: Final = {"1": "_ratio", "s": "_seconds", "By": "_bytes"}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric."""

    name: str  # OpenTelemetry's, dotted
    kind: Kind
    unit: str  # UCUM; "" and annotations such as {item} add nothing to the name
    help: str
    attributes: tuple[str, ...] = ()
    scrape_only: bool = False  # its labels change too often to be pushed

    @property
    def labels(self) -> list[str]:
        """The attributes as Prometheus names them."""
        return [label_of(attribute) for attribute in self.attributes]

    @property
    def prometheus_name(self) -> str:
        """The name of its series; a counter's without `_total`, which the exposition adds."""
        return self.name.replace(".", "_") + _UNIT_SUFFIX.get(self.unit, "")

    @property
    def prometheus_unit(self) -> str:
        """The unit as Prometheus names it: the end of the name; "" where it has none."""
        return _UNIT_SUFFIX.get(self.unit, "").removeprefix("_")

    @property
    def series(self) -> str:
        """The name as queries have it; of a histogram the family's."""
        return self.prometheus_name + ("_total" if self.kind is Kind.COUNTER else "")


def label_of(attribute: str) -> str:
    """The label that Prometheus makes of an attribute."""
    return attribute.replace(".", "_")


_ID: Final = (semconv.OPERATION_ID, semconv.OPERATION_TYPE)
_STEP: Final = (
    *_ID,
    semconv.SYMBOL_NAME,
    semconv.TIMEFRAME,
    semconv.STEP,
    semconv.PROGRESS_TYPE,
    semconv.ITEM_NAME,
)


def _gauge(
    name: str, unit: str, text: str, attributes: tuple[str, ...] = _ID, *, scrape_only: bool = False
) -> Instrument:
    return Instrument(name, Kind.GAUGE, unit, text, attributes, scrape_only)


def _counter(name: str, unit: str, text: str, attributes: tuple[str, ...] = ()) -> Instrument:
    return Instrument(name, Kind.COUNTER, unit, text, attributes)


PROGRESS: Final = _gauge("ktrdr.operation.progress", "1", "How far the operation is, 0 to 1; never falls.")
PHASE_INFO: Final = _gauge(
    "ktrdr.operation.phase.info", "", "1 for the phase in which the operation is.", (*_ID, semconv.PHASE)
)
PHASE_COMPLETED: Final = _gauge(
    "ktrdr.operation.phase.items.completed",
    "{item}",
    "Units of the phase that are finished.",
    (*_ID, semconv.PHASE),
)
PHASE_PLANNED: Final = _gauge(
    "ktrdr.operation.phase.items.planned",
    "{item}",
    "Units of the phase that are planned.",
    (*_ID, semconv.PHASE),
)
STEP_INFO: Final = _gauge(
    "ktrdr.operation.step.info",
    "",
    "1 for the step that is under way.",
    (*_STEP, semconv.TRACE_ID),
    scrape_only=True,
)
ITEMS_COMPLETED: Final = _gauge(
    "ktrdr.operation.items.completed", "{item}", "Units of work that are finished."
)
ITEMS_PLANNED: Final = _gauge("ktrdr.operation.items.planned", "{item}", "Units of work that are planned.")
STARTED: Final = _gauge("ktrdr.operation.start.timestamp", "s", "When the operation began.")
LAST_PROGRESS: Final = _gauge(
    "ktrdr.operation.last_progress.timestamp", "s", "When a unit of work was finished last."
)
HEARTBEAT: Final = _gauge(
    "ktrdr.operation.heartbeat.timestamp", "s", "When the operation's process was known to be there."
)
ALLOWANCE: Final = _gauge(
    "ktrdr.operation.stall.allowance",
    "s",
    "How long the step under way may stand still before it is stalled.",
)
STALLED: Final = _gauge("ktrdr.operation.stalled", "", "1 while the operation lives and does not move.")
SUSPENDED: Final = _gauge("ktrdr.operation.suspended", "", "1 while the process is stopped by a signal.")
SLOW: Final = _gauge(
    "ktrdr.operation.slow", "", "1 while a step takes much longer than such steps took, inside its allowance."
)
REMAINING: Final = _gauge(
    "ktrdr.operation.estimated_remaining", "s", "How long it will still take, where that is known."
)
CPU: Final = _gauge(
    "ktrdr.operation.cpu.usage", "{cpu}", "Cores that its process kept busy over the last seconds."
)
MEMORY: Final = _gauge("ktrdr.operation.memory.usage", "By", "Memory that its process holds.")
MEMORY_LIMIT: Final = _gauge(
    "ktrdr.operation.memory.limit", "By", "Memory that its process may hold, where something limits it."
)
GPU_UTILIZATION: Final = _gauge(
    "ktrdr.gpu.utilization", "1", "How busy the GPU is, as its driver tells.", (semconv.GPU_INDEX,)
)
GPU_MEMORY: Final = _gauge(
    "ktrdr.gpu.memory.usage", "By", "Memory of the GPU that is taken.", (semconv.GPU_INDEX,)
)
GPU_MEMORY_LIMIT: Final = _gauge(
    "ktrdr.gpu.memory.limit", "By", "Memory that the GPU has.", (semconv.GPU_INDEX,)
)
LOSS: Final = _gauge("ktrdr.training.loss", "", "Training loss of the last epoch.")
ACCURACY: Final = _gauge("ktrdr.training.accuracy", "1", "Training accuracy of the last epoch.")
VAL_LOSS: Final = _gauge("ktrdr.training.val_loss", "", "Validation loss of the last epoch.")
VAL_ACCURACY: Final = _gauge("ktrdr.training.val_accuracy", "1", "Validation accuracy of the last epoch.")
LEARNING_RATE: Final = _gauge("ktrdr.training.learning_rate", "", "Learning rate of the last epoch.")
EPOCH: Final = _gauge("ktrdr.training.epoch", "{epoch}", "Epochs that are finished.")
ENDED: Final = _gauge(
    "ktrdr.operation.end.timestamp",
    "s",
    "When the operation ended, and where; for 15 minutes and the newest 100.",
    (*_STEP, semconv.OPERATION_STATUS, semconv.TRACE_ID),
)
ACTIVE: Final = _gauge(
    "ktrdr.operations.active", "{operation}", "Operations that run.", (semconv.OPERATION_TYPE,)
)
OPERATIONS: Final = _counter(
    "ktrdr.operations",
    "{operation}",
    "Operations that have ended since this process began to look.",
    (semconv.OPERATION_TYPE, semconv.OPERATION_STATUS),
)
OPERATION_DURATION: Final = Instrument(
    "ktrdr.operation.duration",
    Kind.HISTOGRAM,
    "s",
    "How long operations took.",
    (semconv.OPERATION_TYPE, semconv.OPERATION_STATUS),
)
CHECKPOINT_DURATION: Final = Instrument(
    "ktrdr.checkpoint.duration",
    Kind.HISTOGRAM,
    "s",
    "How long steps took; its exemplars are traces.",
    (semconv.PROGRESS_TYPE, semconv.TIMEFRAME, semconv.ITEM_NAME),
)
SUBSCRIBERS: Final = _gauge("ktrdr.otel.subscribers", "{subscriber}", "Streams that are read.", ())
FRESHNESS: Final = _gauge("ktrdr.otel.follower.age", "s", "How long ago the store was looked at last.", ())
STORE_UP: Final = _gauge("ktrdr.otel.store.up", "", "1 while the store can be read and written.", ())
STORE_QUEUE: Final = _gauge(
    "ktrdr.otel.store.queue", "{checkpoint}", "Checkpoints that wait to be stored.", ()
)
STORE_FLUSHES: Final = _counter("ktrdr.otel.store.flushes", "{flush}", "Flushes that the store has taken.")
STORE_FLUSH_TIME: Final = _counter("ktrdr.otel.store.flush.time", "s", "Time that those flushes took.")
STORE_FAILURES: Final = _counter(
    "ktrdr.otel.store.failures", "{flush}", "Flushes that the store refused or did not hear."
)
INBOX: Final = _gauge("ktrdr.otel.inbox", "{event}", "Starts and ends of spans that wait to be read.", ())
EXPORT_QUEUE: Final = _gauge("ktrdr.otel.export.queue", "{span}", "Spans that wait to be exported.", ())
EXPORTED: Final = _counter("ktrdr.otel.exported", "{span}", "Spans that a receiver has taken.")
EXPORT_FAILURES: Final = _counter(
    "ktrdr.otel.export.failures", "{export}", "Exports that did not deliver all of their spans."
)
PUSH_FAILURES: Final = _counter("ktrdr.otel.push.failures", "{push}", "Pushes of metrics that nobody took.")
DROPPED: Final = _counter(
    "ktrdr.otel.dropped",
    "{item}",
    "What this process observed and could not keep.",
    (semconv.SIGNAL, semconv.CAUSE),
)
FAULTS: Final = _counter(
    "ktrdr.otel.faults", "{fault}", "Faults of the plugin that it kept from the program.", (semconv.PART,)
)
OWN_CPU_TIME: Final = _counter("ktrdr.otel.cpu.time", "s", "CPU that the plugin's own threads have used.")
CARDINALITY_OVERFLOW: Final = _counter(
    "ktrdr.otel.cardinality.overflow",
    "{step}",
    "Steps counted as `other`, because there are too many items, timeframes or progress types.",
)

INSTRUMENTS: Final[Sequence[Instrument]] = tuple(
    each for each in list(globals().values()) if isinstance(each, Instrument)
)

# Steps take microseconds to minutes, operations seconds to days.
CHECKPOINT_BOUNDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
)
OPERATION_BOUNDS: Final = (1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
