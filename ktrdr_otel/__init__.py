"""See where a long job is, whether it moves, and what it is stuck on: spans as live progress."""

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

__all__ = [
    "CancellationError",
    "CancellationToken",
    "KtrdrOtelError",
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
