"""What the SDK's exporters log, heard by us instead of by everybody.

They log every attempt that fails; the exporter thread tells of an outage once. Only what they say while we
export is taken out of the log: an application's own exporters speak as before.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Ear(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        notes: list[logging.LogRecord] | None = getattr(self.here, "notes", None)
        if notes is None:
            return True
        notes.append(record)
        return False


_ear = _Ear()


@contextmanager
def overheard(logger_name: str) -> Iterator[list[logging.LogRecord]]:
    """Records that the logger is given in this thread meanwhile; nobody else sees them."""
    filters = logging.getLogger(logger_name).filters
    if _ear not in filters:
        # Before the gRPC exporter's own filter, which swallows what was said a moment ago.
        filters.insert(0, _ear)
    notes: list[logging.LogRecord] = []
    _ear.here.notes = notes
    try:
        yield notes
    finally:
        _ear.here.notes = None
