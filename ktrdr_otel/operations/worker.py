"""Which process this is, so that others can tell whether it is still there."""

import os
import socket
from pathlib import Path

from ktrdr_otel.operations.models import Worker

_PROC = Path("/proc")


def this_worker() -> Worker:
    """This process; where the platform has no /proc, the parts that come from it are empty."""
    return Worker(
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=os.getpid(),
        pid_started_ticks=started_ticks(os.getpid()) or 0,
        pid_namespace=pid_namespace(),
    )


def boot_id() -> str:
    """The id of this boot of the machine; "" where there is none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """The namespace in which this process's pids mean something; "" where there is none."""
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def started_ticks(pid: int) -> int | None:
    """When the process of that pid started, in clock ticks since the boot; None if there is no such process.

    A zombie counts as gone: nothing runs in it any more.
    """
    fields = _stat(pid)
    return None if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether there is such a process, and it was stopped by a signal."""
    return _stat(pid)[:1] in ([b"T"], [b"t"])


def is_hidden(pid: int) -> bool:
    """Whether there is such a process, but one that belongs to another user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _stat(pid: int) -> list[bytes]:
    """What the kernel says of the process, from its state on (proc(5), field 3); nothing if there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return []
    # The command's name, in parentheses, may itself hold spaces and parentheses: fields are counted behind it.
    return stat[stat.rindex(b")") + 2 :].split()
