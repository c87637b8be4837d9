"""What `ktrdr-otel doctor` says of the watcher: what it can see of a process on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ktrdr_otel.cli.finding import Finding
from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.settings import load_settings

_NAME: Final = "watcher"
_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")


def watching() -> Iterator[Finding]:
    """Whether there is one, whether it hears of what a process died, and whether it may take its stacks; each tried."""
    from ktrdr_otel.watcher.starter import can_watch

    if _is_off():
        yield Finding(_NAME, "ok", "off: silence alone is judged, a death by who looks (KTRDR_OTEL_WATCHER)")
        return
    if not can_watch():
        yield Finding(
            _NAME,
            "warning",
            "none on this system: silence alone is judged, a death is told by the lease",
            "Linux has it",
        )
        return
    yield _deaths()
    yield _stacks()


def _is_off() -> bool:
    try:
        return load_settings().watcher == "off"
    except KtrdrOtelError:  # said with the settings
        return False


def _deaths() -> Finding:
    from ktrdr_otel.operations.worker import started_ticks
    from ktrdr_otel.watcher.kernel import Process

    try:
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
            process = Process(child.pid, started_ticks(child.pid) or 0)
            child.kill()
            child.wait()
            told = process.death()
            process.close()
    except OSError as error:
        return Finding(
            _NAME, "warning", f"no process can be watched here: {error}", "a death is told by the lease"
        )
    if "SIGKILL" in told:
        return Finding(_NAME, "ok", "deaths: the kernel tells signal and exit code")
    return Finding(
        _NAME,
        "warning",
        f"deaths: seen at once, but Linux {os.uname().release} tells no signal and no exit code",
        "Linux tells them from 6.15 on",
    )


def _stacks() -> Finding:
    from ktrdr_otel.operations import stack
    from ktrdr_otel.watcher.kernel import allow_tracing_by

    path = stack.py_spy()
    # As an observed process allows it to its watcher.
    allow_tracing_by(os.getpid())
    taken = stack.take(path, os.getpid())
    if not isinstance(taken, str):
        return Finding(
            _NAME, "ok", "stacks: py-spy takes them from outside, also while the interpreter's lock is held"
        )
    advice = "pip install 'ktrdr-otel[stacks]'"
    if path is not None:
        scope = _YAMA.read_text().strip() if _YAMA.exists() else None
        advice = (
            f"kernel.yama.ptrace_scope is {scope}: 0 or 1 allows it"
            if scope not in (None, "0", "1")
            else "the kernel or the container forbids ptrace: give it CAP_SYS_PTRACE"
        )
    return Finding(
        _NAME,
        "warning",
        f"stacks: from inside alone, while the interpreter's lock is free ({taken.removeprefix('no stack: ')})",
        advice,
    )
