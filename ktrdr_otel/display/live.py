"""The display of a terminal: redrawn in place, without tearing what the program prints and logs."""

import logging
import sys
from typing import TextIO

from rich.console import Console
from rich.live import Live

from ktrdr_otel.display.panel import OperationPanel
from ktrdr_otel.operations.models import NewOperation

_FRAMES_PER_SECOND = 8


class LiveDisplay(OperationPanel):
    """Draws the panel eight times a second below whatever is printed; its last frame stays."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._live = Live(
            get_renderable=self.draw,
            console=Console(file=stream),
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=False,
        )
        self._redirected: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def operation_started(self, operation: NewOperation) -> None:
        """The picture is on the screen."""
        super().operation_started(operation)
        before = (sys.stdout, sys.stderr)
        self._live.start(refresh=True)
        self._redirect_logging(before)

    def close(self) -> None:
        """The last frame stays; prints and log lines go where they went before."""
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected.clear()
        self._live.stop()

    def _redirect_logging(self, before: tuple[TextIO, TextIO]) -> None:
        """Handlers hold the stream they were made with, past the one that Rich has put in its place."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in before:
                now = sys.stdout if handler.stream is before[0] else sys.stderr
                self._redirected.append((handler, handler.stream))
                handler.setStream(now)
