"""The stacks of all threads of this very process, for where nobody may look from outside."""

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Final

_DEEPEST: Final = 40  # frames per thread that are kept


def own_threads() -> list[dict[str, Any]]:
    """As `py-spy dump --json` has them, the innermost frame first, but for what only the kernel knows of a thread."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    told = []
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        told.append(
            {
                "thread_id": ident,
                "thread_name": None if thread is None else thread.name,
                "os_thread_id": None if thread is None else thread.native_id,
                "frames": _frames(frame),
            }
        )
    return told


def _frames(frame: FrameType | None) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    while frame is not None and len(frames) < _DEEPEST:
        code = frame.f_code
        frames.append(
            {
                "name": code.co_qualname,
                "filename": code.co_filename,
                "short_filename": _short(code.co_filename),
                "line": frame.f_lineno,
            }
        )
        frame = frame.f_back
    return frames


def _short(filename: str) -> str:
    """As it would be imported: below the folder of the path in which it lies."""
    above = [folder for folder in sys.path if folder and filename.startswith(f"{folder}/")]
    return str(Path(filename).relative_to(max(above, key=len))) if above else filename
