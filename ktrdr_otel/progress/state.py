"""The state of an operation as progress callbacks receive it (the seed's contract)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass
class GenericProgressState:
    """Where an operation is; `percentage` is 0-100, `context` has the seed's context keys.

    `start_time` is local and naive, as ktrdr's callers compare it with `datetime.now()`; everything that
    leaves the process says UTC.
    """

    operation_id: str
    current_step: int
    total_steps: int
    percentage: float
    message: str
    start_time: datetime = field(default_factory=datetime.now)
    context: dict[str, Any] = field(default_factory=dict)
    estimated_remaining: timedelta | None = None
    items_processed: int = 0
    total_items: int | None = None
    step_start_percentage: float = 0.0
    step_end_percentage: float = 0.0
    step_current: int = 0
    step_total: int = 0
