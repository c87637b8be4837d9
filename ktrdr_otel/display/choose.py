"""Which display suits where the program runs."""

import os
import sys
from typing import Literal, TextIO

from ktrdr_otel.display.base import Display

Mode = Literal["auto", "live", "plain", "json", "off"]


def choose_display(mode: Mode, stream: TextIO | None = None) -> Display | None:
    """The display of that mode; None for `off`.

    `auto` draws on a terminal and in a notebook; elsewhere it only writes log records, because a library has
    no business in a program's output.
    """
    stream = stream or sys.stdout
    if mode == "off":
        return None
    if mode == "auto":
        mode = _suiting(stream)
        if mode == "off":
            return _notebook() or _log()
    if mode == "json":
        from ktrdr_otel.display.json_lines import JsonLines

        return JsonLines(stream)
    if mode == "plain":
        from ktrdr_otel.display.plain import PlainLines

        return PlainLines(stream)
    from ktrdr_otel.display.live import LiveDisplay

    return LiveDisplay(stream)


def is_drawable(stream: TextIO) -> bool:
    """Whether the stream is a terminal that can redraw lines."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def _suiting(stream: TextIO) -> Literal["live", "off"]:
    return "live" if is_drawable(stream) else "off"


def _notebook() -> Display | None:
    # Only where IPython is at work already: it is never imported for this.
    shell = sys.modules.get("IPython")
    if shell is None or shell.get_ipython() is None or "ipykernel" not in sys.modules:
        return None
    from ktrdr_otel.display.notebook import NotebookDisplay

    return NotebookDisplay()


def _log() -> Display:
    from ktrdr_otel.display.log import LogRecords

    return LogRecords()
