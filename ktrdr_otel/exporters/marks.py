"""Which spans were given markers, by operation, until whoever stores the operation asks."""

import threading


class Marks:
    """Told by the exporter thread; each operation is asked for by whoever writes it.

    Spans of operations that are written elsewhere pass through a queue as well, and nobody asks for those here: beyond
    `most` spans the operation that has not been asked for the longest is forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting = 0
        self._by_operation: dict[str, dict[int, bool]] = {}  # that which waits longest is first
        self._lock = threading.Lock()

    def tell(self, operation_id: str, span_id: int, *, is_marked: bool) -> None:
        """The span of that operation has a marker; or has none after all."""
        with self._lock:
            told = self._by_operation.setdefault(operation_id, {})
            self._waiting += span_id not in told
            told[span_id] = is_marked
            while self._waiting > self._most:
                self._waiting -= len(self._by_operation.pop(next(iter(self._by_operation))))

    def take(self, operation_id: str) -> dict[int, bool]:
        """What was told of the operation's spans since the last call, in order."""
        with self._lock:
            taken = self._by_operation.pop(operation_id, {})
            self._waiting -= len(taken)
            return taken

    def forget(self) -> None:
        """In a forked child: they are the parent's."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._by_operation.clear()
        self._waiting = 0
