"""Programs of ours that run beside the one that started them: told through their standard input, nobody's children."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0


def start(module: str, config: Mapping[str, Any]) -> bool:
    """Whether the module runs as a process of its own; a fault is logged and reaches nobody."""
    try:
        started = subprocess.Popen(  # noqa: S603 # our own interpreter, our own program
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert started.stdin is not None
        with started.stdin:
            started.stdin.write(json.dumps(config).encode() + b"\n")
        # It forks and ends at once, so that it is no child of whoever waits for their own.
        started.wait(_ANSWER_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s could not be started: %s", module, error)
        return False
    return True


def told() -> dict[str, Any]:
    """In such a program: what it was told. From now on it is nobody's child."""
    config: dict[str, Any] = json.loads(sys.stdin.readline())
    if hasattr(os, "fork") and os.fork():
        os._exit(0)
    return config
