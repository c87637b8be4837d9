"""Keeps what the observed program logs, as evidence, without changing what it logs.

By the record factory, which `logging` calls for every record that a logger lets through. A handler on the root logger
would change the program's own logging: `logging.basicConfig` does nothing where there is one, and warnings of a program
without handlers would no longer reach stderr (`test_the_programs_own_logging_is_what_it_was`).
"""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ktrdr_otel import faults
from ktrdr_otel.context import current_checkpoint, current_operation
from ktrdr_otel.events import MOST_WARNINGS, Warned
from ktrdr_otel.operations.logs import Logged

logger = logging.getLogger(__name__)

_LONGEST_MESSAGE: Final = 2_000  # characters
_OURS: Final = "ktrdr_otel"
_OUR_THREADS: Final = "ktrdr-otel"

Factory = Callable[..., logging.LogRecord]


class LogCapture:
    """One per process: captures while operations run, and is gone with the last of them."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()
        self._factory: _CapturingFactory | None = None

    def begin(self) -> None:
        """One more operation runs; what is logged from now on is captured."""
        with self._lock:
            self._count += 1
            if self._factory is None:
                self._factory = _CapturingFactory(logging.getLogRecordFactory())
                logging.setLogRecordFactory(self._factory)

    def end(self) -> None:
        """One operation less; after the last nothing is captured."""
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._remove()

    def forget_after_fork(self) -> None:
        """The child of a fork logs as it did before anything was observed."""
        self._lock = threading.Lock()
        self._count = 0
        self._remove()

    def _remove(self) -> None:
        factory, self._factory = self._factory, None
        if factory is None:
            return
        factory.is_capturing = False
        # Whoever has put a factory around ours goes on calling it: it only passes through from now on.
        if logging.getLogRecordFactory() is factory:
            logging.setLogRecordFactory(factory.previous)


class _CapturingFactory:
    """Makes records as the factory before it did, and notes them; takes no lock and never raises.

    No lock, because a garbage-collected generator may log inside any critical section: it only appends.
    """

    def __init__(self, previous: Factory) -> None:
        self.previous = previous
        self.is_capturing = True
        self._faults = 0
        self._inside = threading.local()

    def __call__(self, *args: Any, **keywords: Any) -> logging.LogRecord:
        record = self.previous(*args, **keywords)
        # Formatting a record may itself log, when one of its arguments does so in `__str__`.
        if self.is_capturing and not getattr(self._inside, "busy", False):
            self._inside.busy = True
            try:
                _note(record)
            except Exception:
                self._contain()
            finally:
                self._inside.busy = False
        return record

    def _contain(self) -> None:
        self._faults += 1
        if self._faults == 1:
            faults.report(logger, "a log record is not kept as evidence; further faults are only counted")


def _note(record: logging.LogRecord) -> None:
    # Without a level it is one that `makeLogRecord` fills in later. Our own would be endless: storing them logs too.
    if not record.levelno or record.name.partition(".")[0] == _OURS:
        return
    if (record.threadName or "").startswith(_OUR_THREADS):
        return
    operation = current_operation()
    if operation is None:
        return
    checkpoint = current_checkpoint.get()
    if checkpoint is None or checkpoint.closed or checkpoint.operation is not operation:
        checkpoint = operation.root
    if checkpoint is None:
        return
    message, at_ns = _message(record), int(record.created * 1e9)
    identity = checkpoint.identity()
    operation.logs.append(
        Logged(
            operation.operation_id,
            at_ns,
            record.levelname,
            record.name,
            message,
            identity.trace_id,
            identity.span_id,
            checkpoint.attributes,
            record.pathname,
            record.lineno,
            record.funcName,
        )
    )
    if record.levelno >= logging.WARNING:
        warnings = checkpoint.warnings
        if warnings is None:
            warnings = checkpoint.warnings = deque(maxlen=MOST_WARNINGS)
        # An event is added when the span ends: its lock may be held in this very thread by now.
        warnings.append(
            Warned(
                at_ns,
                record.levelname,
                record.name,
                message,
                record.pathname,
                record.lineno,
                record.funcName or "",
            )
        )


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # arguments that do not fit: the program's own handlers say so
        text = str(record.msg)
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        text = f"{text}\n{''.join(traceback.format_exception_only(record.exc_info[1])).rstrip()}"
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"
