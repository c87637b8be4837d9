"""Who keeps everybody else from writing to a SQLite file."""

import os
from pathlib import Path
from typing import Final

from ktrdr_otel.operations.worker import is_stopped

_LOCKS: Final = Path("/proc/locks")
# Where a writer's lock lies: in the file beside it in WAL mode, else in the file itself (sqlite.org/fileformat.html
# and os.h, RESERVED_BYTE).
_PLACES: Final = (("-shm", 120), ("", 0x40000001))


def frozen_writer(database: str) -> int | None:
    """The process that was stopped by a signal in the middle of a transaction on that file; None if there is none.

    Linux says so of the processes that this one can see. Nothing is opened or locked to find out.
    """
    real = os.path.realpath(database)  # beside which SQLite keeps its other files
    wanted = {(_inode(real + suffix), byte) for suffix, byte in _PLACES}
    for pid, inode, first, last in _write_locks():
        held = any(inode == each and first <= byte <= last for each, byte in wanted)
        if held and is_stopped(pid):
            return pid
    return None


def _inode(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except (OSError, ValueError):
        return None


def _write_locks() -> list[tuple[int, int, int, int]]:
    """Of each: process, inode, first and last byte."""
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return []
    locks = []
    for line in lines:
        # `13: POSIX ADVISORY WRITE 25843 fe:00:9986549 120 120`; who waits for a lock has an arrow in between.
        words = line.split()
        if len(words) == 8 and words[1] == "POSIX" and words[3] == "WRITE" and words[7] != "EOF":
            locks.append((int(words[4]), int(words[5].rpartition(":")[2]), int(words[6]), int(words[7])))
    return locks
