"""Programs of ours that run beside the one that started them: told through their standard input, nobody's children.

They hold none of its descriptors: whoever reads its output to the end does not wait for them. What they have to say is
in its log while it lives, and afterwards in the store alone.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, Final

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
# It is nobody's child before it has imported anything: whoever starts it waits for an interpreter, not for a program.
_BOOT: Final = """
import os, runpy, sys
if hasattr(os, "fork") and os.fork(): os._exit(0)
runpy.run_module(sys.argv[1], run_name="__main__")
"""
_LONGEST_LINE = 4096  # bytes


def start(module: str, config: Mapping[str, Any]) -> bool:
    """Whether the module runs as a process of its own; a fault is logged and reaches nobody."""
    try:
        started = subprocess.Popen(  # noqa: S603 # our own interpreter, our own program
            call(sys.executable, module),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert started.stdin is not None
        assert started.stderr is not None
        hear(started.stderr, module)
        with started.stdin:
            started.stdin.write(json.dumps(config).encode() + b"\n")
        # It forks and ends at once: an application may wait for children of its own.
        started.wait(_ANSWER_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s could not be started: %s", module, error)
        return False
    return True


def call(python: str, module: str) -> list[str]:
    """The arguments with which the module runs as nobody's child."""
    return [python, "-c", _BOOT, module]


def hear(lines: IO[bytes], who: str) -> None:
    """What the program says from now on is in the log of this one."""
    threading.Thread(target=_log_all, args=(lines, who), name=f"ktrdr-otel hears {who}", daemon=True).start()


def _log_all(lines: IO[bytes], who: str) -> None:
    with lines, suppress(OSError, ValueError):
        while line := lines.readline(_LONGEST_LINE):
            logger.warning("%s: %s", who, line.decode("utf-8", "replace").rstrip())


def told() -> dict[str, Any]:
    """In such a program: what it was told."""
    speak_to_whoever_listens()
    config: dict[str, Any] = json.loads(sys.stdin.readline())
    return config


def speak_to_whoever_listens() -> None:
    """In such a program: it never waits for a reader of its standard error.

    A forked child of the program that started it may have the other end of the pipe, and read nothing.
    """
    os.set_blocking(2, False)
