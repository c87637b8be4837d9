"""The stacks of all threads of another process, taken from outside by py-spy. Standard library only.

From outside, because nothing inside always can: a native call that holds the interpreter's lock stops every Python
thread, and faulthandler crashes programs whose threads run while it dumps. Where there is no py-spy a thread of the
process itself may tell them, in the same form (`own_stacks`).
"""

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

_TRIES = 3  # threads that come and go while it looks make it fail
_TIMEOUT_SECONDS = 2.0
_DEEPEST = 40  # frames per thread that are kept


class StackTaken(NamedTuple):
    """The stacks of a process, as text, or why there are none."""

    is_there: bool
    text: str


class Worker(NamedTuple):
    """A thread that works."""

    os_thread_id: int
    where: str  # its innermost frame: in function, file:line


class Stacks:
    """All threads of a process at one moment: the main one first, ours last."""

    def __init__(self, threads: list[dict[str, Any]]) -> None:
        self._threads = sorted(threads, key=lambda each: (_is_ours(each), not _is_main(each)))

    @classmethod
    def from_inside(cls, threads: list[dict[str, Any]], runnable: Collection[int]) -> "Stacks":
        """Told by the process itself; who works, it cannot say: those of the `runnable` ids, as the kernel knows."""
        return cls([{**thread, "active": thread.get("os_thread_id") in runnable} for thread in threads])

    def worker(self, step_thread: int) -> Worker | None:
        """The thread that works, as far as one can say.

        One that uses the processor or holds the interpreter's lock, else the one that began the step: the main thread
        often only waits for another.
        """
        seen = [thread for thread in self._threads if thread.get("frames") and not _is_ours(thread)]
        if not seen:
            return None
        thread = min(
            seen,
            key=lambda each: (
                not (each.get("active") or each.get("owns_gil")),
                each.get("thread_id") != step_thread,
            ),
        )
        frame = thread["frames"][0]
        file = frame.get("short_filename") or frame.get("filename")
        return Worker(
            int(thread.get("os_thread_id") or 0), f"in {frame.get('name')}, {file}:{frame.get('line')}"
        )

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
        return "no stack: py-spy is not installed (extra stacks)"
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


def _is_main(thread: dict[str, Any]) -> bool:
    return thread.get("thread_name") == "MainThread"


def _is_ours(thread: dict[str, Any]) -> bool:
    frames = thread.get("frames") or []
    return bool(frames) and str(thread.get("thread_name", "")).startswith("ktrdr-otel")


def py_spy() -> str | None:
    """Where py-spy is: beside this Python, else on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")
