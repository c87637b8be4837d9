"""Spans made without the SDK's detours say what the SDK's own would."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ktrdr_otel.exporters.lean import LeanSpan, LeanTracer
from ktrdr_otel.exporters.providers import PinnedProvider, private_provider

SAMPLERS = (
    "always_on",
    "always_off",
    "parentbased_always_on",
    "parentbased_always_off",
    "traceidratio",
    "parentbased_traceidratio",
)
PLAIN: dict[str, Any] = {
    "ktrdr.symbol.name": "AAPL",
    "ktrdr.symbol.index": 2,
    "ratio": 0.5,
    "flag": True,
    "none": None,
}
REMOTE = SpanContext(0x1234, 0x5678, True, TraceFlags(TraceFlags.SAMPLED))


class Witness(SpanProcessor):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.started: list[Span] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Kept."""
        self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Kept."""
        self.ended.append(span)


@pytest.fixture
def witness() -> Witness:
    """Sees every span of `provider`."""
    return Witness()


@pytest.fixture
def provider(witness: Witness) -> PinnedProvider:
    """A private provider that exports nothing."""
    return private_provider(processors=[witness])


def sdk_tracer(pinned: PinnedProvider) -> trace.Tracer:
    """The SDK's own tracer of the same provider and scope."""
    assert isinstance(pinned.provider, TracerProvider)
    assert isinstance(pinned.tracer, LeanTracer)
    lean_scope = pinned.tracer.start_span("scope")
    assert isinstance(lean_scope, ReadableSpan)
    scope = lean_scope.instrumentation_scope
    assert scope is not None
    return pinned.provider.get_tracer(scope.name, scope.version)


def told(span: ReadableSpan) -> dict[str, Any]:
    """All that the span tells, but for its id and times."""
    whole: dict[str, Any] = json.loads(span.to_json())
    whole["context"].pop("span_id")
    for timed in (whole, *whole["events"]):
        for key in ("start_time", "end_time", "timestamp"):
            timed[key] = timed.get(key) is not None
    return {
        **whole,
        "flags": span.context.trace_flags,
        "state": span.context.trace_state,
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "scope": span.instrumentation_scope,
    }


def nothing(span: trace.Span) -> None:
    """The span is left as it is."""


def busy(span: trace.Span) -> None:
    """All that can be said of a span is said."""
    span.set_attribute("later", "value")
    span.set_attributes({"flag": False, "list": [1, 2]})
    span.add_event("event", {"a": 1})
    span.add_link(REMOTE, {"b": 2})
    span.update_name("renamed")
    span.record_exception(ValueError("why"))
    span.set_status(Status(StatusCode.ERROR, "broken"))


@pytest.mark.parametrize("say", [nothing, busy])
@pytest.mark.parametrize("under", [None, REMOTE])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_lean_span_tells_what_the_sdks_would(
    sampler: str,
    under: SpanContext | None,
    say: Callable[[trace.Span], None],
    monkeypatch: pytest.MonkeyPatch,
    witness: Witness,
) -> None:
    """Under every sampler, below a root of its own or another process's, whatever is said of it."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    provider = private_provider(processors=[witness])
    around = None if under is None else trace.set_span_in_context(NonRecordingSpan(under))
    root = provider.tracer.start_span("root", around)
    inside = trace.set_span_in_context(root)
    spans = [
        tracer.start_span("child", inside, attributes=dict(PLAIN))
        for tracer in (sdk_tracer(provider), provider.tracer)
    ]
    for span in spans:
        say(span)
        span.end()
    assert [isinstance(span, LeanSpan) for span in witness.ended] == [False, True]
    theirs, ours = (told(span) for span in witness.ended)
    if not theirs["flags"].sampled:
        # Nobody exports it, so the SDK leaves out what it was begun with.
        theirs["attributes"] = {**PLAIN, **theirs["attributes"]}
    assert ours == theirs


def test_a_child_of_a_lean_span_is_lean(provider: PinnedProvider, witness: Witness) -> None:
    """The parent is the one that was current."""
    start = provider.tracer.start_as_current_span
    with start("root") as root, start("outer", attributes={"a": 1}) as outer:
        provider.tracer.start_span("inner", attributes={"b": 2}).end()
    inner = witness.ended[0]
    assert isinstance(inner, LeanSpan)
    assert inner.parent == outer.get_span_context()
    assert inner.context.trace_id == root.get_span_context().trace_id
    assert inner.context.span_id not in {outer.get_span_context().span_id, 0}


def test_an_ended_lean_span_changes_no_more(
    provider: PinnedProvider, witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever still holds it is told so, and it ends once."""
    root = provider.tracer.start_span("root")
    span = provider.tracer.start_span("child", trace.set_span_in_context(root), attributes={"a": 1})
    span.end(end_time=5)
    before = told(witness.ended[0])
    busy(span)
    span.end()
    assert told(witness.ended[0]) == before
    assert witness.ended[0].end_time == 5
    assert len(witness.ended) == 1
    assert "Calling end() on an ended span" in caplog.text
    assert "Setting attribute on ended span" in caplog.text


def test_the_mapping_that_a_span_began_with_stays_as_it_is(provider: PinnedProvider) -> None:
    """The checkpoint, whose mapping it is, is read by another thread."""
    root = provider.tracer.start_span("root")
    given = {"a": 1}
    span = provider.tracer.start_span("child", trace.set_span_in_context(root), attributes=given)
    span.set_attribute("b", 2)
    assert given == {"a": 1}
    assert isinstance(span, ReadableSpan)
    assert dict(span.attributes or {}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "unusual",
    [
        {"attributes": {"list": [1, "two"]}},
        {"attributes": {"object": object()}},
        {"attributes": {str(number): number for number in range(200)}},
        {"attributes": None},
        {"attributes": {"a": 1}, "kind": SpanKind.CLIENT},
        {"attributes": {"a": 1}, "links": [trace.Link(REMOTE)]},
        {"attributes": {"a": 1}, "start_time": 7},
        {"attributes": {"a": 1}, "record_exception": False},
    ],
)
def test_what_is_unusual_is_left_to_the_sdk(
    unusual: dict[str, Any], provider: PinnedProvider, witness: Witness
) -> None:
    """It cleans, drops and keeps as it does for everybody."""
    root = provider.tracer.start_span("root")
    provider.tracer.start_span("child", trace.set_span_in_context(root), **unusual).end()
    assert not isinstance(witness.ended[0], LeanSpan)


def test_below_somebody_elses_span_the_sampler_is_asked(provider: PinnedProvider, witness: Witness) -> None:
    """Its decision was not ours."""
    foreign = TracerProvider(shutdown_on_exit=False).get_tracer("theirs").start_span("outer")
    provider.tracer.start_span("child", trace.set_span_in_context(foreign), attributes={"a": 1}).end()
    assert not isinstance(witness.ended[0], LeanSpan)
    assert witness.ended[0].parent == foreign.get_span_context()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true"),
    ],
)
def test_what_the_environment_asks_of_the_sdk_holds(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, witness: Witness
) -> None:
    """Limits that have to be looked at, and the SDK's own metrics, are the SDK's business."""
    monkeypatch.setenv(variable, value)
    provider = private_provider(processors=[witness])
    root = provider.tracer.start_span("root")
    provider.tracer.start_span(
        "child", trace.set_span_in_context(root), attributes={"a": "long", "b": "text"}
    ).end()
    assert not isinstance(witness.ended[0], LeanSpan)
