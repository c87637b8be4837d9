"""The one reader of the inbox: turns its entries into units and hands them to their operations, in order."""

import logging
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from ktrdr_otel import faults
from ktrdr_otel.bridge.live import LiveOperation
from ktrdr_otel.bridge.units import ended_unit, is_counted_alone, unit_of_checkpoint, unit_of_span
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.context import Happening, Inbox

logger = logging.getLogger(__name__)


class Pump:
    """Drains the inbox every `interval_seconds` in a thread of its own, and whenever somebody wants to know now.

    One lock makes draining exclusive. Producers never take it: whatever happens inside (a garbage collection
    that ends a checkpoint, a slow display), they go on.
    """

    def __init__(self, inbox: Inbox, wake: "SimpleQueue[None]", *, interval_seconds: float) -> None:
        self._inbox = inbox
        self._wake = wake  # a reentrant C queue: whoever puts may be anywhere, also in a garbage collection
        self._interval_seconds = interval_seconds
        self._lives: dict[str, LiveOperation] = {}
        self._begun: dict[Checkpoint, None] = {}  # begun in this drain, in order
        self._passed: list[Checkpoint] = []  # begun and ended in it, and not told yet
        self._passing: LiveOperation | None = None  # whose these are
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.faults = 0

    def add(self, live: LiveOperation) -> None:
        """The operation's entries reach it from now on; the thread runs."""
        with self._lock:
            self._lives[live.operation_id] = live
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="ktrdr-otel progress", daemon=True
                )
                self._thread.start()

    def remove(self, live: LiveOperation) -> None:
        """The operation's entries are dropped from now on; without operations the thread ends."""
        with self._lock:
            self._lives.pop(live.operation_id, None)
            if not self._lives:
                self._stop.set()
                self._wake.put(None)
                self._thread = None

    def drain(self) -> None:
        """All that was in the inbox at the call has been told; each operation's latest state is on its way."""
        with self._lock:
            take = self._inbox.popleft
            for _ in range(len(self._inbox)):
                entry = take()
                try:
                    if not isinstance(entry, Checkpoint):
                        self._dispatch(*entry)
                    elif entry.begun:
                        self._end(entry)
                    else:
                        # What ends before this drain does is told as a whole, so the start waits.
                        entry.begun = True
                        self._begun[entry] = None
                except Exception:
                    self._contain()
            self._tell_all()
            for live in list(self._lives.values()):
                try:
                    live.settle()
                except Exception:
                    self._contain()

    def forget_after_fork(self) -> None:
        """The child of a fork has no operations, no thread, and a lock that nobody holds."""
        self._inbox.clear()
        self._lives.clear()
        self._begun.clear()
        self._passed.clear()
        self._passing = None
        self._lock = threading.RLock()
        self._thread = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(Empty):
                self._wake.get(timeout=self._interval_seconds)
            try:
                self.drain()
            except Exception:  # whatever it was: the next turn is another one
                self._contain()

    def _dispatch(self, happening: Happening, subject: Any, seen_ns: int) -> None:
        if happening is Happening.LOOP_ENDED:
            self._tell_all()
            live = self._lives.get(subject.operation.operation_id)
            if live is not None:
                live.loop_ended(subject, seen_ns)
        elif (unit := unit_of_span(subject, seen_ns)) is not None:
            self._tell_all()
            self._dispatch_span(happening, unit)

    def _end(self, checkpoint: Checkpoint) -> None:
        live = self._live_of(checkpoint)
        if live is None:
            self._begun.pop(checkpoint, None)
            return
        if checkpoint in self._begun and live.passes_units and is_counted_alone(checkpoint):
            del self._begun[checkpoint]
            if live is not self._passing:
                self._tell_passed()
                self._passing = live
            self._passed.append(checkpoint)
            return
        self._tell_all()
        opened = live.take_open(checkpoint.identity().span_id)
        if opened is not None:
            live.finished(ended_unit(opened, checkpoint))

    def _tell_all(self) -> None:
        self._tell_passed()
        self._tell_begun()

    def _tell_passed(self) -> None:
        passed, self._passed = self._passed, []
        live, self._passing = self._passing, None
        if not passed or live is None:
            return
        try:
            live.passed(passed)
        except Exception:
            for checkpoint in passed:  # one of them is at fault: only that is lost
                try:
                    live.passed([checkpoint])
                except Exception:
                    self._contain()

    def _tell_begun(self) -> None:
        if not self._begun:
            return
        begun, self._begun = self._begun, {}
        for checkpoint in begun:
            live = self._live_of(checkpoint)
            if live is None:
                continue
            try:
                live.started(unit_of_checkpoint(checkpoint, live.operation_id))
            except Exception:
                self._contain()

    def _live_of(self, checkpoint: Checkpoint) -> LiveOperation | None:
        operation = checkpoint.operation
        return None if operation is None else self._lives.get(operation.operation_id)

    def _dispatch_span(self, happening: Happening, unit: Any) -> None:
        live = self._lives.get(unit.operation_id)
        if live is None:
            return
        if happening is Happening.SPAN_STARTED:
            live.started(unit)
        elif live.take_open(unit.span_id) is not None:
            live.finished(unit)

    def _contain(self) -> None:
        self.faults += 1
        if self.faults == 1:
            faults.report(logger, "an update of progress is lost; further faults are only counted")
