"""What is kept of an exception that ended an operation: its traceback, and what the other threads did then."""

import sys
import threading
import traceback
from typing import Final

_LONGEST_TRACEBACK: Final = 16_000  # characters
_LONGEST_THREADS: Final = 8_000
_DEEPEST: Final = 40  # frames per other thread
_OUR_THREADS: Final = "ktrdr-otel"


def traceback_of(error: BaseException) -> str:
    """The traceback with all causes, then the stacks of the program's other threads; bounded, values left out."""
    told = _cut("".join(traceback.format_exception(error)).rstrip(), _LONGEST_TRACEBACK)
    threads = _cut(_other_threads(), _LONGEST_THREADS)
    return f"{told}\n\n{threads}" if threads else told


def _other_threads() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    mine = threading.get_ident()
    told = []
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, str(ident))
        if ident == mine or name.startswith(_OUR_THREADS):
            continue
        lines = traceback.format_list(traceback.extract_stack(frame, limit=_DEEPEST))
        told.append(f'Thread "{name}" (most recent call last):\n{"".join(lines).rstrip()}')
    return "\n\n".join(told)


def _cut(text: str, longest: int) -> str:
    """The beginning and, three times as long, the end, which says more."""
    if len(text) <= longest:
        return text
    head = longest // 4
    return f"{text[:head]}\n... {len(text) - longest} characters left out ...\n{text[head - longest :]}"
