"""Events on spans, made in one place: OpenTelemetry is moving them from spans to log records."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from ktrdr_otel import semconv

MOST_WARNINGS: Final = 20  # events per span: the newest


class Warned(NamedTuple):
    """A warning, or worse, that was logged inside a checkpoint."""

    at_ns: int  # wall clock
    level: str
    logger: str
    message: str
    file: str
    line: int
    function: str


def add_event(span: Span, name: str, attributes: Mapping[str, AttributeValue], *, at_ns: int) -> None:
    """The span says what happened at that moment, on the wall clock."""
    span.add_event(name, attributes, timestamp=at_ns)


def add_warnings(span: Span, warnings: Iterable[Warned]) -> None:
    """The span says what was logged in it."""
    for each in warnings:
        attributes: dict[str, AttributeValue] = {
            semconv.LOG_LEVEL: each.level,
            semconv.LOG_LOGGER: each.logger,
            semconv.LOG_MESSAGE: each.message,
            semconv.CODE_FILE_PATH: each.file,
            semconv.CODE_LINE_NUMBER: each.line,
            semconv.CODE_FUNCTION_NAME: each.function,
        }
        add_event(span, semconv.LOGGED_EVENT, attributes, at_ns=each.at_ns)
