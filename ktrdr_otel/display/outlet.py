"""Where the displays that write lines write them."""

import os
from typing import TextIO


class LineOutlet:
    """Writes whole lines, each at once and unbuffered.

    When the reader of a pipe has gone, or the file is closed or full, it falls silent: the run is worth more
    than what it says.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def line(self, text: str) -> None:
        """The line is written and flushed; what the encoding lacks is shown as its code."""
        stream = self._stream
        if stream is None:
            return
        encoding = stream.encoding or "utf-8"
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            stream.write(shown + "\n")
            stream.flush()
        except BrokenPipeError:
            self._stream = None
            _leave_pipe(stream)
        except (OSError, ValueError):  # a full disk; a closed file
            self._stream = None


def _leave_pipe(stream: TextIO) -> None:
    """What is still buffered goes nowhere: the interpreter would try it again at its end, and exit with 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
