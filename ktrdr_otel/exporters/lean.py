"""The tracer of our own provider: a child of its spans is made without the SDK's detours.

The SDK asks the sampler through three layers, cleans the attributes one by one and copies the span when it ends. That
takes longer than all that a checkpoint does besides, and leaves the garbage collector ten objects to walk instead of
two (`tests/benchmarks/checkpoint_cost`). What is told of the span is the same (`tests/unit/exporters/test_lean.py`).
"""

import os
from collections.abc import Mapping, Sequence
from threading import Lock
from time import time_ns
from types import NoneType
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.environment_variables import OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED
from opentelemetry.sdk.trace import Span, SpanLimits, SpanProcessor, Tracer
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, SpanKind, get_current_span
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util import types

from ktrdr_otel import ids

# Values that the SDK takes as they are, and the garbage collector does not walk.
_PLAIN: Final = frozenset({str, int, float, bool, NoneType})
# Where the SDK's own properties and methods find what is set here.
_SET_HERE: Final = frozenset(
    {"_attributes", "_context", "_end_time", "_events", "_links", "_lock", "_name", "_parent", "_start_time"}
)
_new: Final = object.__new__


class LeanSpan(Span):
    """A span of the SDK that has of its own only what it does not share with every other.

    Its attributes are the very mapping that it was begun with, until somebody adds to them. Once it has ended nothing
    changes it, so it is itself what the processors are given.
    """

    _attributes: Any
    _events: Any
    _links: Any
    _lock: Any
    _limits: SpanLimits
    _name: str
    _span_processor: SpanProcessor

    def end(self, end_time: int | None = None) -> None:
        """The span has ended."""
        with self._lock:
            is_first = self._end_time is None
            if is_first:
                self._end_time = time_ns() if end_time is None else end_time
        if is_first:
            self._span_processor.on_end(self)
        else:
            super().end(end_time)  # which says so

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        """The span carries it."""
        self._own_attributes()
        super().set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        """The span carries them."""
        self._own_attributes()
        super().set_attributes(attributes)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """The span tells of it."""
        with self._lock:
            if "_events" not in vars(self):
                self._events = BoundedList(self._limits.max_events)
        super().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """The span refers to it."""
        with self._lock:
            if "_links" not in vars(self):
                self._links = BoundedList(self._limits.max_links)
        super().add_link(context, attributes)

    def _own_attributes(self) -> None:
        with self._lock:
            if not isinstance(self._attributes, BoundedAttributes):
                self._attributes = BoundedAttributes(
                    self._limits.max_span_attributes, self._attributes, immutable=False
                )


class LeanTracer(Tracer):
    """The SDK's tracer, which makes children of its provider's spans itself where they are like most."""

    def __init__(self, sdk: Tracer, span_class: type[LeanSpan], most_attributes: int | None) -> None:
        vars(self).update(vars(sdk))
        self._span_class = span_class
        self._most_attributes = 2**31 if most_attributes is None else most_attributes

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> ApiSpan:
        """The span is open. A dictionary given as its attributes is not copied: it is the span's from now on."""
        around = get_current_span(context)
        if (
            # Its own provider's: the sampler has decided about the whole trace.
            getattr(around, "resource", None) is not self.resource
            or attributes.__class__ is not dict
            or not _PLAIN.issuperset(map(type, attributes.values()))
            or len(attributes) > self._most_attributes
            or kind is not SpanKind.INTERNAL
            or links
            or start_time is not None
            or not (record_exception and set_status_on_exception)
        ):
            return super().start_span(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
        parent = around.get_span_context()
        span = _new(self._span_class)
        span._name = name
        span._parent = parent
        span._context = SpanContext(
            parent.trace_id, ids.new_span_id(), False, parent.trace_flags, parent.trace_state
        )
        span._attributes = attributes
        span._lock = Lock()
        span._start_time = time_ns()
        self.span_processor.on_start(span, context)
        return span


def lean(tracer: Tracer, *, limits: SpanLimits, scope: InstrumentationScope) -> Tracer:
    """The tracer, lean; as it was where the SDK has to measure itself or to cut values, or is one unknown to us."""
    template = LeanSpan(
        "template",
        INVALID_SPAN_CONTEXT,
        resource=tracer.resource,
        span_processor=tracer.span_processor,
        limits=limits,
        instrumentation_info=tracer.instrumentation_info,
        instrumentation_scope=scope,
    )
    shared = vars(template)
    known = shared.keys() >= _SET_HERE
    if not known or limits.max_span_attribute_length is not None or _measures_itself():
        return tracer
    span_class = type(LeanSpan.__name__, (LeanSpan,), shared)
    return LeanTracer(tracer, span_class, limits.max_span_attributes)


def _measures_itself() -> bool:
    told = os.environ.get(OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED, "")
    return told.strip().lower() == "true"
