"""The stacks of all threads of another process, taken from outside by py-spy. Standard library only.

From outside, because nothing inside can: a native call that holds the interpreter's lock stops every Python thread, and
faulthandler crashes programs whose threads run while it dumps.
"""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

_TRIES = 3  # threads that come and go while it looks make it fail
_TIMEOUT_SECONDS = 2.0
_DEEPEST = 40  # frames per thread that are kept


class Stacks:
    """All threads of a process at one moment; the first is the one that runs the program."""

    def __init__(self, threads: list[dict[str, Any]]) -> None:
        self._threads = sorted(
            threads, key=lambda each: (each.get("thread_name") != "MainThread", _is_ours(each))
        )

    @property
    def where(self) -> str | None:
        """The innermost frame of the thread that works, as `function, file:line`."""
        for thread in self._threads:
            frames = thread.get("frames") or []
            if frames and not _is_ours(thread):
                frame = frames[0]
                file = frame.get("short_filename") or frame.get("filename")
                return f"in {frame.get('name')}, {file}:{frame.get('line')}"
        return None

    def text(self) -> str:
        """Each thread with its frames, the innermost first."""
        lines = []
        for thread in self._threads:
            state = "active" if thread.get("active") else "idle"
            lock = ", holds the GIL" if thread.get("owns_gil") else ""
            lines.append(f'Thread "{thread.get("thread_name") or thread.get("thread_id")}" ({state}{lock})')
            for frame in (thread.get("frames") or [])[:_DEEPEST]:
                where = f"{frame.get('filename')}:{frame.get('line')}"
                lines.append(f"    {frame.get('name')} ({where})")
        return "\n".join(lines)


def take(py_spy: str | None, pid: int) -> "Stacks | str":
    """The stacks, or why there are none."""
    if py_spy is None:
        return "no stack: py-spy is not installed (pip install 'ktrdr-otel[stacks]')"
    why = ""
    for _ in range(_TRIES):
        try:
            done = subprocess.run(  # noqa: S603 # our own arguments
                [py_spy, "dump", "--nonblocking", "--json", "--pid", str(pid)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode == 0:
                return Stacks(json.loads(done.stdout))
            why = (
                done.stderr.strip().splitlines()[0] if done.stderr.strip() else f"exit code {done.returncode}"
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            why = str(error).splitlines()[0]
    return f"no stack: py-spy failed ({why})"


def _is_ours(thread: dict[str, Any]) -> bool:
    frames = thread.get("frames") or []
    return bool(frames) and str(thread.get("thread_name", "")).startswith("ktrdr-otel")


def py_spy() -> str | None:
    """Where py-spy is: beside this Python, else on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")
