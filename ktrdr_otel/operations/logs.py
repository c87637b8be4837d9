"""What a program logs while it is observed: the last records of each operation are kept as evidence."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from ktrdr_otel import semconv
from ktrdr_otel.progress.messages import describe

KEPT: Final = 200  # records per operation; the oldest go first


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

    @property
    def step(self) -> str | None:
        """The words for the step in which it was logged; None outside of any."""
        kind = self.attributes.get(semconv.PROGRESS_TYPE)
        if kind is None:
            return None
        keys = semconv.context_keys(kind)
        return describe(kind, {keys[name]: value for name, value in self.attributes.items() if name in keys})


LogInbox = deque[Logged]


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
