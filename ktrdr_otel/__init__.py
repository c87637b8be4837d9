"""See where a long job is, whether it moves, and what it is stuck on: spans as live progress."""

from typing import TYPE_CHECKING, Any

from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.checkpoint import checkpoint, hold
from ktrdr_otel.errors import (
    CancellationError,
    KtrdrOtelError,
    OperationExistsError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
    UnknownOperationError,
)
from ktrdr_otel.observe import observe, track

if TYPE_CHECKING:
    from ktrdr_otel.exporters.processor import LiveSpanProcessor

__all__ = [
    "CancellationError",
    "CancellationToken",
    "KtrdrOtelError",
    "LiveSpanProcessor",
    "OperationExistsError",
    "SettingsError",
    "StoreError",
    "StoreUnavailableError",
    "UnknownOperationError",
    "checkpoint",
    "hold",
    "observe",
    "track",
]


def __getattr__(name: str) -> Any:
    # It needs the SDK, which whoever only imports this package does not wait for.
    if name == "LiveSpanProcessor":
        from ktrdr_otel.exporters.processor import LiveSpanProcessor

        return LiveSpanProcessor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
