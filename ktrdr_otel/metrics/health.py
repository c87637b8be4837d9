"""The plugin's own numbers, as far as the service and its store know them."""

from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.state import Point
from ktrdr_otel.operations.service import OperationsService

_REFUSED = "store"  # the one cause for which these are dropped: the store is away, or refuses them


def store_points(service: OperationsService, *, is_followed: bool = True) -> list[Point]:
    """How the store fares, as this process writes it, and follows it where it does."""
    health = service.health()
    return [
        (instruments.STORE_UP, (), float(is_followed and health.last_error is None)),
        (instruments.STORE_QUEUE, (), float(service.waiting())),
        (instruments.STORE_FLUSHES, (), float(health.flushes)),
        (instruments.STORE_FLUSH_TIME, (), health.flush_seconds),
        (instruments.STORE_FAILURES, (), float(health.failures)),
        (instruments.DROPPED, ("checkpoint", _REFUSED), float(health.dropped_checkpoints)),
        (instruments.DROPPED, ("log", _REFUSED), float(health.dropped_logs)),
    ]
