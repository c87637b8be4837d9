"""How much memory a process holds, as the kernel counts it."""

import os
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """What is in memory of the process now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
