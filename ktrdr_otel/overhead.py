"""What observing a run has cost, measured: our threads by the kernel's accounting, checkpoints by doing some."""

import contextvars
import threading
import time
from pathlib import Path
from queue import SimpleQueue

from opentelemetry.sdk.trace import TracerProvider

from ktrdr_otel.bridge.processor import ProgressSpanProcessor
from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.checkpoint import Checkpoint, checkpoint
from ktrdr_otel.context import ActiveOperation, Inbox
from ktrdr_otel.exporters.providers import recording

_TRIALS = 300
_THREADS = "ktrdr-otel"  # every thread of ours is named so


def thread_seconds() -> float | None:
    """CPU seconds of our threads that run now; None where the platform does not tell."""
    taken = _thread_ns()
    return None if taken is None else sum(taken.values()) / 1e9


class ThreadTime:
    """CPU seconds of our threads, of those that have ended too, as far as somebody had looked."""

    def __init__(self) -> None:
        self._seen: dict[threading.Thread, int] = {}
        self._ended_ns = 0

    def seconds(self) -> float | None:
        """The sum, which never falls; None where the platform does not tell."""
        taken = _thread_ns()
        if taken is None:
            return None
        self._ended_ns += sum(ns for thread, ns in self._seen.items() if thread not in taken)
        self._seen = taken
        return (self._ended_ns + sum(taken.values())) / 1e9


def _thread_ns() -> dict[threading.Thread, int] | None:
    taken = {}
    for thread in threading.enumerate():
        if thread.name.startswith(_THREADS) and thread.native_id is not None:
            try:
                # The first figure is the time on a CPU, in nanoseconds.
                account = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
            except OSError:
                if not thread.is_alive():  # it has just ended
                    continue
                return None
            taken[thread] = int(account.split()[0])
    return taken


def checkpoint_seconds(*, is_private: bool) -> float:
    """What one checkpoint costs its caller here and now: the mean of some that nobody reads.

    `is_private`: under a provider of our own, else under one such as an application sets up.
    """
    return contextvars.Context().run(_measure, is_private)


def _measure(is_private: bool) -> float:
    inbox: Inbox = Inbox()
    processor = ProgressSpanProcessor(inbox, SimpleQueue())
    if is_private:
        _, tracer = recording([processor])
    else:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("overhead")
    root = Checkpoint("operation", {})
    root.enter_as_root(ActiveOperation("overhead", CancellationToken(), tracer, inbox))
    began = time.perf_counter()
    for index in range(_TRIALS):
        with checkpoint(
            "indicator_computation",
            symbol="AAPL",
            symbol_index=1,
            total_symbols=1,
            timeframe="1d",
            indicator_name="rsi",
            indicator_index=index,
            total_indicators=_TRIALS,
        ):
            pass
    seconds = (time.perf_counter() - began) / _TRIALS
    root.__exit__(None, None, None)
    return seconds
