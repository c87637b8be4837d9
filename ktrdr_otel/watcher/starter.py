"""Starts the watcher once an operation is worth it, and another one if it dies; a child of a fork starts none."""

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ktrdr_otel import beside
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.watcher.kernel import allow_tracing_by

logger = logging.getLogger(__name__)

_WORTH_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_MOST_STARTS: Final = 10  # in a row: one that cannot live is not started for ever
_LIVES_SECONDS: Final = 30.0
_ACK_SECONDS: Final = 5.0
_PACKAGE: Final = Path(__file__).parent.parent

# Forks once more and ends, so that the watcher is no child of the application, which may `os.wait()` for its own. The
# package is made without running its `__init__`, which wants what an isolated interpreter does not have.
_BOOT: Final = """
import os, sys, types
if os.fork(): os._exit(0)
package = types.ModuleType("ktrdr_otel"); package.__path__ = [sys.argv[1]]; sys.modules["ktrdr_otel"] = package
from ktrdr_otel.watcher.process import main
main()
"""


def can_watch() -> bool:
    """Whether this system has what a watcher needs: Linux, and a Python that can be started again."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and not getattr(sys, "frozen", False)


class Watch:
    """One per process and store: a watcher while operations run, gone soon after the last of them."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._config: Callable[[], dict[str, Any]] = dict
        self._count = 0
        self._lock = threading.Lock()
        self._none_left = threading.Event()
        self._thread: threading.Thread | None = None
        self._was_idle = False  # since the watcher started: then it may have gone by itself
        self.pid: int | None = None  # of the watcher that runs
        self.on_start: Callable[[], None] = lambda: None

    def begin(self, config: Callable[[], dict[str, Any]]) -> None:
        """One more operation runs; if it is still there in two seconds, a watcher is too.

        One that is still there from the operation before goes on.
        """
        with self._lock:
            self._count += 1
            self._pulse.count(1)
            self._config = config
            self._none_left.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ktrdr-otel watch", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """One operation less; without any the watcher goes by itself."""
        with self._lock:
            self._count -= 1
            self._pulse.count(-1)
            if self._count == 0:
                self._was_idle = True
                self._none_left.set()

    def forget_after_fork(self) -> None:
        """The child of a fork is not watched, and starts nobody."""
        self._lock = threading.Lock()
        self._thread = None
        self._count = 0
        self.pid = None

    def _run(self) -> None:
        started = 0
        self._none_left.wait(_WORTH_SECONDS)
        while not self._is_done():
            if started >= _MOST_STARTS:
                logger.warning("%d watchers have died; no further one is started", started)
                self._give_up()
                return
            try:
                descriptor = self._start()
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                logger.warning("no watcher could be started: %s; a stall is seen without its stack", error)
                self._give_up()
                return
            began = time.monotonic()
            self._was_idle = False
            self.on_start()
            try:
                self._until_gone(descriptor)
            finally:
                os.close(descriptor)
                self.pid = None
            # Only those that do not live are counted: a long run may lose one now and then.
            started = started + 1 if time.monotonic() - began < _LIVES_SECONDS else 0
            if not self._was_idle:
                logger.warning("the watcher is gone; starting another")

    def _is_done(self) -> bool:
        with self._lock:
            if self._count == 0:
                self._thread = None
            return self._count == 0

    def _give_up(self) -> None:
        with self._lock:
            self._thread = None

    @staticmethod
    def _until_gone(descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(_LOOK_SECONDS * 1000):
            pass

    def _start(self) -> int:
        """A descriptor of the watcher, which runs."""
        started = subprocess.Popen(  # noqa: S603 # our own interpreter, our own program
            [sys.executable, "-I", "-S", "-c", _BOOT, str(_PACKAGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            close_fds=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        )
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stderr is not None
        beside.hear(started.stderr, "the watcher")
        with started.stdin, started.stdout:
            started.stdin.write(json.dumps(self._config()).encode() + b"\n")
            started.stdin.flush()
            readable, _, _ = select.select([started.stdout], [], [], _ACK_SECONDS)
            told = started.stdout.readline().decode() if readable else ""
        started.wait(_ACK_SECONDS)
        if not told.strip().isdigit():
            raise ValueError("it did not answer")
        self.pid = int(told)
        allow_tracing_by(self.pid)
        return os.pidfd_open(self.pid)
