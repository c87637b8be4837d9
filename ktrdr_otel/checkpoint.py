"""A checkpoint: one instrumented point of a long job, one span.

A class over `start_span` rather than `start_as_current_span` (a generator): that difference pays for the rest
of the checkpoint (`tests/benchmarks/checkpoint_cost`).
"""

import asyncio
import contextlib
import difflib
import functools
import inspect
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypedDict, TypeVar, Unpack

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext, Status, StatusCode

from ktrdr_otel import context as here
from ktrdr_otel import ids, semconv
from ktrdr_otel.context import ActiveOperation, current_checkpoint, sighting
from ktrdr_otel.errors import CancellationError, message_of
from ktrdr_otel.events import Warned, add_warnings

P = ParamSpec("P")
R = TypeVar("R")

# How a checkpoint can be left without having failed: it was told to stop, or nobody wanted the rest.
_NOT_FAILURES: Final = (CancellationError, asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)


class CheckpointContext(TypedDict, total=False):
    """The keywords of a checkpoint: the seed's context keys. Indices are 1-based."""

    step: str
    preprocessing_step: str
    preparation_phase: str
    symbol: str
    symbol_index: int
    total_symbols: int
    timeframe: str
    item: str
    index: int
    total: int
    indicator_name: str
    indicator_index: int
    total_indicators: int
    fuzzy_set_name: str
    fuzzy_index: int
    total_fuzzy_sets: int
    epoch_index: int
    total_epochs: int
    total_samples: int
    input_dim: int


# What a checkpoint hands down to those inside it.
_INHERITED: Final = (semconv.SYMBOL_NAME, semconv.SYMBOL_INDEX, semconv.SYMBOL_TOTAL, semconv.TIMEFRAME)


class Checkpoint:
    """Opens a nested span around a piece of work; made by `checkpoint`, entered once.

    `record` adds what is known only at the end of the work, such as an epoch's loss.
    """

    __slots__ = (
        "_generation",
        "_otel_context",
        "_restore",
        "added",
        "attributes",
        "began_monotonic_ns",
        "begun",
        "cancelled",
        "closed",
        "ended_monotonic_ns",
        "ended_ns",
        "error",
        "export_place",
        "ids",
        "is_own",
        "metrics",
        "name",
        "operation",
        "parent",
        "seen",
        "span",
        "started_ns",
        "warnings",
        "word",
    )

    def __init__(self, word: str, attributes: dict[str, Any]) -> None:
        self.word = word
        self.attributes = attributes
        self.name = word
        self.operation: ActiveOperation | None = None
        self.parent: Checkpoint | None = None
        self.span: Span = trace.INVALID_SPAN
        # Ids and times by which progress knows it: the span's, or its own where no tracer recorded one.
        self.ids: SpanContext | None = None
        self.is_own = False
        self.started_ns = 0
        self.ended_ns: int | None = None
        self.export_place: int | None = None
        self.began_monotonic_ns = 0
        self.ended_monotonic_ns = 0
        self.begun = False  # the inbox's reader has come across its start
        self.seen = False
        self.closed = False
        self.cancelled = False
        self.error: tuple[str, str] | None = None
        self.metrics: dict[str, float] | None = None
        self.added: Mapping[str, Any] | None = (
            None  # all attributes, where it has more than others of its word
        )
        self.warnings: deque[Warned] | None = None  # logged in it; events of its span when it ends
        self._otel_context: otel_context.Context | None = None
        self._restore: tuple[Token[otel_context.Context], Token[Checkpoint | None]] | None = None

    def __enter__(self) -> Self:
        parent = current_checkpoint.get()
        if parent is not None and (operation := parent.operation) is not None and not operation.ended:
            if parent.closed:
                parent = parent.nearest_open()
            return self._enter(operation, parent, None)
        operation = here.sole_operation()
        if operation is None:
            return self._enter_plain(parent)
        root = operation.root
        return self._enter(operation, root, None if root is None else root._otel_context)

    def enter_as_root(self, operation: ActiveOperation) -> Self:
        """It is open, as the root span of that operation; its own parent is whatever span was current."""
        operation.root = self
        return self._enter(operation, current_checkpoint.get(), None)

    def _enter(
        self, operation: ActiveOperation, parent: "Checkpoint | None", context: otel_context.Context | None
    ) -> Self:
        if operation.token.cancelled:
            operation.token.raise_if_cancelled()
        self.operation = operation
        self.parent = parent
        attributes = self.attributes
        attributes[semconv.OPERATION_ID] = operation.operation_id
        if parent is not None and operation.root is not self:
            inherited = parent.attributes
            for key in _INHERITED:
                if key in inherited and key not in attributes:
                    attributes[key] = inherited[key]
        sighting.opening = self
        try:
            self.span = operation.tracer.start_span(self.name, context, attributes=attributes)
        finally:
            sighting.opening = None
        if not self.seen:
            trace_id = ids.new_trace_id() if parent is None else parent.identity().trace_id
            self.ids = SpanContext(trace_id, ids.new_span_id(), is_remote=False)
            self.is_own = True
            self.export_place = 0  # nobody exports what no tracer recorded
            self.started_ns = time.time_ns()
            self.began_monotonic_ns = time.monotonic_ns()
            operation.inbox.append(self)
        self._become_current(context)
        return self

    def _enter_plain(self, parent: "Checkpoint | None") -> Self:
        """Without an operation a checkpoint is a span like any other."""
        self.parent = parent
        self.span = trace.get_tracer(semconv.SCOPE_NAME).start_span(self.name, attributes=self.attributes)
        self._become_current(None)
        return self

    def _become_current(self, context: otel_context.Context | None) -> None:
        self._generation = here.fork_generation()
        mine = self._otel_context = trace.set_span_in_context(self.span, context)
        self._restore = (otel_context.attach(mine), current_checkpoint.set(self))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._generation != here.fork_generation():
            return
        if error is not None:
            self._note(error)
        self.closed = True
        if self.warnings is not None:
            add_warnings(self.span, tuple(self.warnings))
        self._leave()
        # It waits in the inbox from now on: the less it holds, the less the garbage collector has to walk.
        self._restore = self._otel_context = None
        sighting.closing = self
        try:
            self.span.end()
        finally:
            sighting.closing = None
        # The span is the tracer's and its exporter's from now on; what progress needs of it has been noted.
        self.span = trace.INVALID_SPAN
        if self.is_own and self.operation is not None:
            self.ended_ns = time.time_ns()
            self.ended_monotonic_ns = time.monotonic_ns()
            self.operation.inbox.append(self)

    def withdraw(self) -> None:
        """It was never there: its span is not ended, so that nothing is exported, and is not current."""
        self.closed = True
        self._leave()

    def _leave(self) -> None:
        """Whatever was current before, and is still open, is current again.

        Interleaved generators and asynchronous tasks leave in another order than they entered, and a
        generator may be collected in a thread in which it never ran: then nothing of that thread's is touched.
        """
        if current_checkpoint.get() is not self:
            return
        parent = self.parent
        if self._restore is None:
            return
        context_token, checkpoint_token = self._restore
        if parent is None or not parent.closed:
            try:
                current_checkpoint.reset(checkpoint_token)
            except ValueError:  # entered in another context: an `async with` that was moved between tasks
                current_checkpoint.set(parent)
            else:
                otel_context.detach(context_token)
                return
        else:
            parent = parent.nearest_open()
            current_checkpoint.set(parent)
        around = None if parent is None else parent._otel_context
        otel_context.attach(otel_context.Context() if around is None else around)

    def nearest_open(self) -> "Checkpoint | None":
        """Itself while it is open, else the closest of those around it that are."""
        checkpoint: Checkpoint | None = self
        while checkpoint is not None and checkpoint.closed:
            checkpoint = checkpoint.parent
        return checkpoint

    def _note(self, error: BaseException) -> None:
        if isinstance(error, _NOT_FAILURES):
            self.cancelled = True
            self.span.set_attribute(semconv.SPAN_STATE, semconv.STATE_CANCELLED)
            return
        if isinstance(error, SystemExit) and not error.code:
            return
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        message = message_of(error)
        self.error = (name, message)
        with contextlib.suppress(Exception):  # whose message cannot be had; the status says so
            self.span.record_exception(error)
        self.span.set_attribute(semconv.ERROR_TYPE, name)
        self.span.set_status(Status(StatusCode.ERROR, message))

    def notice(self, attributes: Mapping[str, Any] | None) -> None:
        """Those that its span has ended with are its own if they are more than it was begun with."""
        if attributes is not None and len(attributes) > len(self.attributes):
            self.added = attributes

    def identity(self) -> SpanContext:
        """The ids by which its unit is known: the span's, or its own where no tracer recorded it."""
        return self.span.get_span_context() if self.ids is None else self.ids

    def record(self, metrics: Mapping[str, float]) -> None:
        """The metrics of the work are on its span.

        They are `loss`, `accuracy`, `learning_rate`, and with `val_` those of validation. Other names are
        refused with `ValueError`: each is an attribute that boards and alerts know.
        """
        for key, value in metrics.items():
            attribute = semconv.TRAINING_METRICS.get(key)
            if attribute is None:
                raise ValueError(f"no metric {key!r}; there are {', '.join(semconv.TRAINING_METRICS)}")
            self.span.set_attribute(attribute, float(value))
        self.metrics = {**(self.metrics or {}), **{key: float(value) for key, value in metrics.items()}}

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """As a decorator: a new checkpoint of the same words at each call, around the whole of a coroutine."""
        word, attributes, name = self.word, dict(self.attributes), self.name

        def again() -> Checkpoint:
            fresh = Checkpoint(word, dict(attributes))
            fresh.name = name
            fresh.added = None if self.added is None else fresh.attributes
            return fresh

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def observed_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                with again():
                    return await function(*args, **kwargs)

            return observed_coroutine  # type: ignore[return-value] # a coroutine function again

        @functools.wraps(function)
        def observed(*args: P.args, **kwargs: P.kwargs) -> R:
            with again():
                return function(*args, **kwargs)

        return observed


def checkpoint(word: str, /, **keywords: Unpack[CheckpointContext]) -> Checkpoint:
    """A checkpoint around a `with` block or a function: checks cancellation, then opens a nested span.

    `word` is a progress type of the pipeline, a container (`symbol`, `timeframe`, `training`), or any word of
    yours; the keywords say where the work is. Raises `CancellationError` on entry when somebody has asked to
    stop, `TypeError` for a keyword that does not exist.

    >>> with checkpoint("load", item="MSFT", index=3, total=10):
    ...     pass
    """
    attributes: dict[str, Any] = {}
    if word not in semconv.CONTAINERS:
        attributes[semconv.PROGRESS_TYPE] = word
    step = semconv.STEP_OF_TYPE.get(word)
    if step is not None:
        attributes[semconv.STEP] = step
    made = Checkpoint(word, attributes)
    try:
        for key, value in keywords.items():
            attributes[_ATTRIBUTE_OF_KEY[key]] = value
    except KeyError:
        _add_rare(made, keywords)
    made.name = span_name(word, attributes)
    return made


_RARE: Final = frozenset({semconv.SAMPLE_TOTAL, semconv.MODEL_INPUT_DIMENSION})
# A mapping proxy costs at each look-up, and so would a question for the rare ones.
_ATTRIBUTE_OF_KEY: Final = {
    key: attribute for key, attribute in semconv.ATTRIBUTE_OF_KEY.items() if attribute not in _RARE
}


def _add_rare(made: Checkpoint, keywords: Mapping[str, Any]) -> None:
    """It has all of the keywords, and some that most checkpoints have not."""
    for key, value in keywords.items():
        attribute = semconv.ATTRIBUTE_OF_KEY.get(key)
        if attribute is None:
            raise TypeError(_unknown_keyword(key)) from None
        made.attributes[attribute] = value
    made.added = made.attributes


def span_name(word: str, attributes: Mapping[str, Any]) -> str:
    """The step, else the word, followed by what a strategy file bounds; other names are attributes only.

    >>> span_name("symbol", {"ktrdr.symbol.name": "AAPL"})
    'symbol AAPL'
    """
    if word in semconv.STEP_OF_TYPE:
        return f"{semconv.STEP_OF_TYPE[word]} {attributes.get(semconv.ITEM_NAME, '')}".rstrip()
    if word in (semconv.PREPROCESSING, semconv.PREPARATION):
        return str(attributes.get(semconv.STEP, word))
    if word == semconv.SYMBOL_SPAN:
        return f"{word} {attributes.get(semconv.SYMBOL_NAME, '')}".rstrip()
    if word == semconv.TIMEFRAME_SPAN:
        return f"{word} {attributes.get(semconv.TIMEFRAME, '')}".rstrip()
    return word


def hold(label: str, *, allowance_seconds: float) -> Checkpoint:
    """A declared long opaque call: it may take `allowance_seconds` before anyone calls it stalled.

    >>> with hold("waiting for the broker", allowance_seconds=600):
    ...     pass
    """
    if not allowance_seconds > 0:
        raise ValueError(f"allowance_seconds must be positive, not {allowance_seconds!r}")
    made = checkpoint(semconv.HOLD, item=label)
    made.attributes[semconv.HOLD_ALLOWANCE] = float(allowance_seconds)
    return made


def _unknown_keyword(key: str) -> str:
    near = difflib.get_close_matches(key, semconv.ATTRIBUTE_OF_KEY, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(semconv.ATTRIBUTE_OF_KEY)}"
    return f"checkpoint() has no keyword {key!r}{hint}"
