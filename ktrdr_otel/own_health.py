"""How observing fares in this process: what waits, what was dropped, what failed, and what CPU it took."""

import threading
from collections import Counter
from collections.abc import Sized

from ktrdr_otel import overhead
from ktrdr_otel.bridge.processor import ProgressSpanProcessor
from ktrdr_otel.bridge.pump import Pump
from ktrdr_otel.exporters.health import ExportHealth
from ktrdr_otel.exporters.queue import ExportQueue
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.gpu import Gpus
from ktrdr_otel.metrics.state import Point


class OwnHealth:
    """Every operation has an export queue of its own; what they counted stays counted when they are gone."""

    def __init__(self, inbox: Sized, processor: ProgressSpanProcessor, pump: Pump) -> None:
        self._inbox = inbox
        self._processor = processor
        self._pump = pump
        self._gpus = Gpus()
        self._threads = overhead.ThreadTime()
        self._queues: list[ExportQueue] = []
        self._past: Counter[tuple[instruments.Instrument, tuple[str, ...]]] = Counter()
        self._lock = threading.Lock()

    def exports(self, queue: ExportQueue) -> None:
        """The queue's figures are among the points from now on, once: an application's serves many operations."""
        with self._lock:
            if queue not in self._queues:
                self._queues.append(queue)

    def exported(self, queue: ExportQueue) -> None:
        """The queue has been shut down; its counts are final."""
        with self._lock:
            self._queues.remove(queue)
            self._past.update(_counted(queue.health()))

    def points(self) -> list[Point]:
        """The figures now; of the export only where something is exported."""
        # Before the lock, which beginning and ending operations take: a driver may not answer.
        gpus = self._gpus.points()
        faults = (
            ("processor", self._processor.faults),
            ("progress", self._pump.faults),
            ("gpu", self._gpus.faults),
        )
        points: list[Point] = [
            (instruments.INBOX, (), float(len(self._inbox))),
            *((instruments.FAULTS, (part,), float(count)) for part, count in faults),
        ]
        with self._lock:  # a scrape and a push may ask at once
            if (seconds := self._threads.seconds()) is not None:
                points.append((instruments.OWN_CPU_TIME, (), seconds))
            return [*points, *gpus, *self._of_exports()]

    def forget_after_fork(self) -> None:
        """The child exports nothing of its parent's."""
        self._lock = threading.Lock()
        self._gpus = Gpus()  # somebody may have been asking at the fork
        self._queues.clear()
        self._past.clear()
        self._threads = overhead.ThreadTime()

    def _of_exports(self) -> list[Point]:
        healths = [queue.health() for queue in self._queues]
        counts = self._past.copy()
        for health in healths:
            counts.update(_counted(health))
        if not counts:
            return []
        waiting = float(sum(health.queued for health in healths))
        points = [(instrument, values, float(count)) for (instrument, values), count in counts.items()]
        return [(instruments.EXPORT_QUEUE, (), waiting), *points]


def _counted(health: ExportHealth) -> dict[tuple[instruments.Instrument, tuple[str, ...]], int]:
    return {
        (instruments.EXPORTED, ()): health.exported,
        (instruments.EXPORT_FAILURES, ()): health.failures,
        **{(instruments.DROPPED, ("span", cause.value)): count for cause, count in health.dropped.items()},
    }
