"""The plugin's own numbers: what it dropped, what failed, who reads."""

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.state import Point
from ktrdr_otel.operations.service import OperationsService


def health_points(service: OperationsService, subscribers: int) -> list[Point]:
    """How the process itself is, now."""
    health = service.health()
    return [
        (instruments.SUBSCRIBERS, (), float(subscribers)),
        (instruments.STORE_UP, (), float(health.last_error is None)),
        (instruments.DROPPED, ("checkpoint",), float(health.dropped_checkpoints)),
        (instruments.EXPORT_FAILURES, (), float(health.failures)),
    ]
