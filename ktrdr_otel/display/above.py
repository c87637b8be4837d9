"""What stands in for the program's output streams while a picture is drawn below them."""

import io
import threading
from typing import Any, TextIO

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.text import Text

_LONGEST_LINE = 64 * 1024  # characters held without a line end


class Above(io.TextIOBase):
    """Puts whole lines above the picture; an unfinished one waits for its end.

    Rich has a stand-in of its own, but its `flush` ends the line (a bar of tqdm becomes a flood) and reads
    the program's text as markup. Here a line that was rewritten by carriage returns is shown as it was last.
    """

    def __init__(self, console: Console, stream: TextIO) -> None:
        self.stream = stream
        self._console: Console | None = console
        self._decoder = AnsiDecoder()
        self._lock = threading.Lock()
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """What is complete by now is shown."""
        with self._lock:
            console = self._console
            if console is not None:
                whole, end, rest = (self._rest + text).rpartition("\n")
                if len(rest) > _LONGEST_LINE:
                    whole, end, rest = f"{whole}{end}{rest}", "\n", ""
                self._rest = rest
        if console is None:
            return self.stream.write(text)
        # The lock is free by now: the console has one of its own, and draws from another thread.
        if end:
            lines = [self._decoder.decode_line(_last_version(line)) for line in whole.split("\n")]
            console.print(Text("\n").join(lines), soft_wrap=True, highlight=False)
        return len(text)

    def flush(self) -> None:
        """Whole lines are shown already; an unfinished one waits."""
        if self._console is None:
            self.stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal: it is."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The stream's own."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only, as of every text stream
        """The stream's own."""
        return self.stream.encoding

    def finish(self) -> None:
        """What was unfinished is shown; from now on all goes straight to the stream."""
        if self._rest:
            self.write("\n")
        self.let_go()

    def let_go(self) -> None:
        """From now on all goes straight to the stream, without any lock that was there before."""
        self._lock = threading.Lock()
        self._console = None
        self._rest = ""


def _last_version(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
