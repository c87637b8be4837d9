"""Messages about stalls, recoveries and ends, sent by Apprise from a thread or process that nothing waits for.

A run that hangs cannot speak, so `observe` starts a small process that follows its record (`ktrdr_otel.notifying`),
told through its standard input what to follow and where to send.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Final

from ktrdr_otel import faults
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.operations.models import Checkpoint, Operation
from ktrdr_otel.operations.sentence import sentence_of

logger = logging.getLogger(__name__)

_MOST_WAITING: Final = 100  # messages, beyond which the newest are dropped and that is logged


class News:
    """What is worth a message: one per stall, per recovery and per end of each operation."""

    def __init__(self) -> None:
        self._stalled: set[str] = set()
        self._ended: set[str] = set()

    def of(self, operation: Operation) -> str | None:
        """The sentence to send, if this state is news."""
        name = operation.operation_id
        if operation.status.is_terminal:
            self._stalled.discard(name)
            if name in self._ended:
                return None
            self._ended.add(name)
            return sentence_of(operation, datetime.now(UTC))
        # A stall is told with what its process does: that is known a moment after the stall itself.
        if operation.stalled and operation.stall is not None and operation.stall.until is None:
            if name in self._stalled:
                return None
            self._stalled.add(name)
            return sentence_of(operation, datetime.now(UTC))
        if not operation.stalled and name in self._stalled:
            self._stalled.discard(name)
            return f"goes on: {sentence_of(operation, datetime.now(UTC))}"
        return None


class Outbox:
    """Sends messages one after the other; whoever hands them in never waits."""

    def __init__(
        self, urls: str, on_failure: Callable[[str, str], None] = lambda _operation, _why: None
    ) -> None:
        """The URLs have been checked by `check_notify`; what is not taken is logged, and told to `on_failure`."""
        import apprise

        self._on_failure = on_failure
        self._reasons = _Reasons()
        logging.getLogger("apprise").addHandler(self._reasons)
        self._apprise = apprise.Apprise()
        for url in urls.split():
            self._apprise.add(url)
        self._waiting: SimpleQueue[tuple[str, str] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ktrdr-otel notify", daemon=True)
        self._thread.start()

    def send(self, operation_id: str, sentence: str) -> None:
        """It will be sent."""
        if self._waiting.qsize() >= _MOST_WAITING:
            logger.warning("a message about %s is dropped: the receiver does not take them", operation_id)
            return
        self._waiting.put((operation_id, sentence))

    def close(self, timeout_seconds: float) -> None:
        """What waits is sent, if it can be within that time."""
        self._waiting.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None:
            operation_id, sentence = message
            self._reasons.newest = "no reason was given"
            try:
                sent = self._apprise.notify(title=f"ktrdr-otel: {operation_id}", body=sentence)
            except Exception:
                faults.report(logger, "a message about %s could not be sent", operation_id)
            else:
                if not sent:
                    self._failed(operation_id)

    def _failed(self, operation_id: str) -> None:
        why = f"the message was not taken: {self._reasons.newest}"
        logger.warning("operation %s: %s", operation_id, why)
        try:
            self._on_failure(operation_id, why)
        except Exception:
            faults.report(logger, "that a message about %s failed could not be stored", operation_id)


class _Reasons(logging.Handler):
    """Apprise says in its log why, and in its answer only that."""

    newest = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Of several the last is about the last receiver that failed."""
        if record.levelno >= logging.WARNING:
            self.newest = record.getMessage()


def check_notify(urls: str, setting: str = "KTRDR_OTEL_NOTIFY") -> None:
    """The URLs can be used; raises `SettingsError`, which names the setting and does not repeat them."""
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{setting} needs {error.name}, which is not installed; pip install 'ktrdr-otel[notify]'"
        ) from error
    for place, url in enumerate(urls.split(), start=1):
        if not apprise.Apprise().add(url):
            raise SettingsError(f"{setting}: the URL at place {place} is none that Apprise knows")


class Notifier:
    """Hears of operations from a follower of the store, and sends what is news."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._news = News()

    def stored(self, operations: Sequence[Operation], _steps: Sequence[Checkpoint], _sequence: int) -> None:
        """The store has these operations."""
        for operation in operations:
            if (sentence := self._news.of(operation)) is not None:
                self._outbox.send(operation.operation_id, sentence)
