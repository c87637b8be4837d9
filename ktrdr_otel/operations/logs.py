"""What a program logs while it is observed: the last records of each operation are kept as evidence."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ktrdr_otel import semconv
from ktrdr_otel.context import KEPT_LOGS
from ktrdr_otel.progress.messages import describe


class Logged(NamedTuple):
    """A record as it was captured: what takes time is done later, by who stores it."""

    operation_id: str
    at_ns: int  # wall clock
    level: str  # WARNING, or whatever the program calls its levels
    logger: str
    message: str
    trace_id: int | None
    span_id: int | None  # of the checkpoint in which it was logged
    attributes: Mapping[str, Any]  # of that checkpoint
    file: str | None = None  # where
    line: int | None = None
    function: str | None = None

    @property
    def step(self) -> str | None:
        """The words for the step in which it was logged; None outside of any."""
        kind = self.attributes.get(semconv.PROGRESS_TYPE)
        if kind is None:
            return None
        keys = semconv.context_keys(kind)
        return describe(kind, {keys[name]: value for name, value in self.attributes.items() if name in keys})


LogInbox = deque[Logged]


def by_operation(logged: Iterable[Logged]) -> dict[str, LogInbox]:
    """Per operation the last records that are worth keeping, in order."""
    kept: dict[str, LogInbox] = {}
    for record in logged:
        kept.setdefault(record.operation_id, deque(maxlen=KEPT_LOGS)).append(record)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A record as the store keeps it."""

    sequence: int  # the store's own, rising
    at: datetime
    level: str
    logger: str
    message: str
    trace_id: str | None
    span_id: str | None
    step: str | None
    file: str | None = None  # where it was logged
    line: int | None = None
    function: str | None = None
