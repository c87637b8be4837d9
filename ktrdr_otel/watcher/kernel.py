"""What Linux knows of a process: alive, stopped, busy, how it died. Standard library only."""

import contextlib
import ctypes
import fcntl
import os
import select
import struct
import time
from pathlib import Path
from typing import NamedTuple

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes): struct pidfd_info of Linux 6.13
_INFO_SIZE = 64
_INFO_EXIT = 1 << 3
_EXIT_CODE_AT = 60
_REAPED_WITHIN_SECONDS = 0.3
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_SIGNALS = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
    11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 31: "SIGSYS",
}  # fmt: skip


class Load(NamedTuple):
    """A process at one moment."""

    is_stopped: bool
    cpu_seconds: float  # of all its threads, since it began
    rss_bytes: int


class Process:
    """A process that is watched; its pid cannot be given to another while this is open."""

    def __init__(self, pid: int, started_ticks: int) -> None:
        """Raises `ProcessLookupError` when it is not there any more."""
        self.pid = pid
        self._folder = Path("/proc") / str(pid)
        self._descriptor = os.pidfd_open(pid)
        if self._field(19) != started_ticks:
            os.close(self._descriptor)
            raise ProcessLookupError(pid)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._oom_file = _oom_events(self._folder)
        self._oom_kills = _oom_kills(self._oom_file)

    def close(self) -> None:
        """It is watched no longer."""
        os.close(self._descriptor)

    def wait(self, seconds: float) -> bool:
        """Whether it has died within that time."""
        return bool(self._poll.poll(seconds * 1000))

    def load(self) -> Load | None:
        """What it does; None when it has just died, and of what it used nothing is left to see."""
        try:
            stat = (self._folder / "stat").read_bytes()
            rss = int((self._folder / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return None
        fields = stat[stat.rindex(b")") + 2 :].split()
        if fields[0] in (b"Z", b"X"):
            return None
        return Load(fields[0] in (b"T", b"t"), (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND, rss)

    def runnable_threads(self) -> set[int]:
        """The ids of its threads that would run if each had a core of its own."""
        return {int(thread.name) for thread in (self._folder / "task").glob("*") if _state(thread) == b"R"}

    def death(self) -> str:
        """How it died, as far as anyone can know."""
        # The kernel tells once the parent has taken the status; one that never does leaves it unknown.
        deadline = time.monotonic() + _REAPED_WITHIN_SECONDS
        while (status := self._exit_status()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if status is not None and not os.WIFSIGNALED(status):
            return f"process {self.pid} exited with code {os.WEXITSTATUS(status)}"
        number = None if status is None else os.WTERMSIG(status)
        if number in (None, 9) and _oom_kills(self._oom_file) > self._oom_kills:
            return f"process {self.pid} was killed: out of memory (its cgroup's limit)"
        if number is None:
            return f"process {self.pid} is gone, signal unknown"
        return f"process {self.pid} was killed by {_SIGNALS.get(number, f'signal {number}')}"

    def remember_oom_kills(self) -> None:
        """What the cgroup has counted so far has not hit this process."""
        self._oom_kills = _oom_kills(self._oom_file)

    def _exit_status(self) -> int | None:
        """The wait status, from Linux 6.15 on; before that nobody but the parent is told."""
        info = bytearray(_INFO_SIZE)
        struct.pack_into("<Q", info, 0, _INFO_EXIT)
        try:
            fcntl.ioctl(self._descriptor, _PIDFD_GET_INFO, info, True)
        except OSError:
            return None
        (mask,) = struct.unpack_from("<Q", info, 0)
        if not mask & _INFO_EXIT:
            return None
        (status,) = struct.unpack_from("<i", info, _EXIT_CODE_AT)
        return int(status)

    def _field(self, index: int) -> int:
        try:
            stat = (self._folder / "stat").read_bytes()
        except OSError as error:
            raise ProcessLookupError(self.pid) from error
        return int(stat[stat.rindex(b")") + 2 :].split()[index])


def _state(thread: Path) -> bytes | None:
    try:
        stat = (thread / "stat").read_bytes()
    except OSError:
        return None  # it has just ended
    return stat[stat.rindex(b")") + 2 :][:1]


def allow_tracing_by(pid: int) -> None:
    """That process and its children may read this one's stacks, also where Yama forbids it to others."""
    pr_set_ptracer = 0x59616D61
    with contextlib.suppress(OSError, AttributeError):  # no Yama, no such call: then nobody forbids it
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_ptracer, ctypes.c_ulong(pid), 0, 0, 0)


def memory_limit(pid: int) -> int | None:
    """The limit of the process's cgroup, in bytes; None where there is none."""
    folder = _cgroup(Path("/proc") / str(pid))
    if folder is None:
        return None
    try:
        text = (folder / "memory.max").read_text().strip()
    except OSError:
        return None
    return None if text == "max" else int(text)


def _cgroup(process: Path) -> Path | None:
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("0::"):
            return Path("/sys/fs/cgroup") / line[3:].lstrip("/")
    return None


def _oom_events(process: Path) -> Path | None:
    folder = _cgroup(process)
    return None if folder is None else folder / "memory.events"


def _oom_kills(file: Path | None) -> int:
    try:
        lines = [] if file is None else file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
