"""Which display suits where the program runs."""

import os
import sys
from typing import Literal, TextIO

from ktrdr_otel.display.base import Display

Mode = Literal["auto", "live", "plain", "json", "off"]


def choose_display(mode: Mode, stream: TextIO | None = None) -> Display | None:
    """The display of that mode; None for `off`, and where there is nothing to write to.

    `auto` draws on a terminal and in a notebook, and writes lines on a terminal that cannot redraw; elsewhere
    it only writes log records, because a library has no business in a program's output. What can be drawn only
    on a terminal (`live`) is lines elsewhere. A terminal on which another operation is drawn is left to it.
    """
    if mode == "off":
        return None
    if stream is None:
        stream = sys.stdout
    if mode == "auto":
        return _suiting(stream)
    if stream is None:
        return None
    if mode == "json":
        from ktrdr_otel.display.json_lines import JsonLines

        return JsonLines(stream)
    return _drawn(stream) if mode == "live" and is_drawable(stream) else _plain(stream)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at what is written to the stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def is_drawable(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal that can redraw lines and has the letters of the picture."""
    if stream is None or not is_terminal(stream) or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    return (stream.encoding or "utf-8").lower().startswith("utf")


def _suiting(stream: TextIO | None) -> Display:
    if stream is not None and is_terminal(stream):
        return _drawn(stream) if is_drawable(stream) else _plain(stream)
    return _notebook() or _log()


def _drawn(stream: TextIO) -> Display:
    from ktrdr_otel.display.live import LiveDisplay

    return _log() if LiveDisplay.is_drawing() else LiveDisplay(stream)


def _plain(stream: TextIO) -> Display:
    from ktrdr_otel.display.plain import PlainLines

    return PlainLines(stream)


def _notebook() -> Display | None:
    # Only where IPython is at work already: it is never imported for this.
    shell = sys.modules.get("IPython")
    if shell is None or "ipykernel" not in sys.modules or shell.get_ipython() is None:
        return None
    from ktrdr_otel.display.notebook import NotebookDisplay

    return NotebookDisplay()


def _log() -> Display:
    from ktrdr_otel.display.log import LogRecords

    return LogRecords()
