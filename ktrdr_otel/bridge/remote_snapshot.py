"""What a training elsewhere says of itself in one snapshot; whatever it leaves out or garbles is None."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class RemoteSnapshot:
    """A snapshot, read."""

    context: Mapping[str, Any]  # the keys of the state that it becomes
    session_id: str | None
    message: str | None
    percent: float | None
    epoch: int | None  # counted from 1
    total_epochs: int | None
    items: int | None
    total_items: int | None
    batches_per_epoch: int | None

    @classmethod
    def read(cls, snapshot: Mapping[str, Any]) -> Self:
        """The snapshot of a host service."""
        progress = _mapping(snapshot.get("progress"))
        batches, done = progress.get("total_batches"), progress.get("items_processed")
        return cls(
            context={
                "host_status": str(snapshot.get("status") or "").lower() or None,
                "remote_progress": dict(progress),
                "metrics": _mapping(_mapping(snapshot.get("metrics")).get("current")),
                "best_metrics": _mapping(_mapping(snapshot.get("metrics")).get("best")),
                "gpu_usage": snapshot.get("gpu_usage") or {},
                "resource_usage": snapshot.get("resource_usage") or {},
                "timestamp": snapshot.get("timestamp"),
            },
            session_id=snapshot.get("session_id"),
            message=str(progress["message"]) if progress.get("message") else None,
            percent=_percent(progress.get("progress_percent")),
            epoch=whole(progress.get("epoch")),
            total_epochs=whole(progress.get("total_epochs")),
            items=whole(progress.get("batch") if done is None else done),
            total_items=whole(progress.get("items_total") or batches),
            batches_per_epoch=whole(batches),
        )


def whole(value: Any) -> int | None:
    """The integer that the value says; None where it says none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _percent(value: Any) -> float | None:
    try:
        percent = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return percent if math.isfinite(percent) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
