"""What is kept of an exception that ended an operation: its traceback, and what the other threads did then."""

import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

from ktrdr_otel.errors import message_of

_LONGEST_TRACEBACK: Final = 16_000  # characters
_LONGEST_THREADS: Final = 8_000
_DEEPEST: Final = 40  # frames per other thread
_OUR_THREADS: Final = "ktrdr-otel"


def traceback_of(error: BaseException) -> str:
    """The traceback with all causes, then the stacks of the program's other threads; bounded, values left out.

    Never raises.
    """
    told = _cut(_with_causes(error), _LONGEST_TRACEBACK)
    threads = _cut(_or_why_not("other threads", _other_threads), _LONGEST_THREADS)
    return f"{told}\n\n{threads}" if threads else told


def _with_causes(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:  # it is asked for its attributes, as its causes are, and code of its own may answer
        return _or_why_not("the traceback", lambda: _alone(error))


def _alone(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}: {message_of(error)}"


def _or_why_not(what: str, tell: Callable[[], str]) -> str:
    try:
        return tell()
    except Exception as fault:
        return f"{what} cannot be read: {type(fault).__name__}"


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
