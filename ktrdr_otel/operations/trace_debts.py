"""What the trace of an operation still owes to its receivers, so that whoever survives its process can pay it."""

from dataclasses import dataclass

from ktrdr_otel.operations.models import Operation, Worker
from ktrdr_otel.operations.trace_export import TraceExport


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDebt:
    """An operation whose process can export no more, and what its receivers have of its trace."""

    operation: Operation
    root_span_id: str | None  # 16 hex digits
    worker: Worker
    export: TraceExport
    confirmed: int  # spans whose place in the export queue is not beyond it have arrived
    marked: frozenset[str]  # 16 hex digits; spans whose end is the child of their marker
