"""The display of a terminal: redrawn in place, without tearing what the program prints and logs."""

import logging
import sys
import threading
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live

from ktrdr_otel import context
from ktrdr_otel.display.above import Above
from ktrdr_otel.display.panel import OperationPanel
from ktrdr_otel.display.picture import Picture
from ktrdr_otel.operations.models import NewOperation

_FRAMES_PER_SECOND = 5


class LiveDisplay(OperationPanel):
    """Draws the picture five times a second below whatever is printed; its last frame stays.

    A terminal has room for one picture: a second operation that begins meanwhile draws none.
    """

    _drawing: "LiveDisplay | None" = None
    _lock_of_terminal = threading.Lock()
    _hears_forks = False

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        # Above, not Rich, stands in for the program's streams: see there.
        self._live = Live(
            get_renderable=lambda: Picture(self.heard()),
            console=Console(file=stream),
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stands_in: dict[str, Above] = {}
        self._redirected: list[tuple[logging.StreamHandler[Any], Above]] = []

    @classmethod
    def is_drawing(cls) -> bool:
        """Whether a picture is on the terminal."""
        return cls._drawing is not None

    def operation_started(self, operation: NewOperation) -> None:
        """The picture is on the screen."""
        super().operation_started(operation)
        with LiveDisplay._lock_of_terminal:
            if LiveDisplay._drawing is not None:
                return
            LiveDisplay._drawing = self
            if not LiveDisplay._hears_forks:
                LiveDisplay._hears_forks = True
                context.when_forked(_let_go_in_child)
        self._live.start(refresh=True)
        self._stand_in()

    def close(self) -> None:
        """The last frame stays; prints and log lines go where they went before."""
        if LiveDisplay._drawing is not self:
            return
        for stand_in in self._stands_in.values():
            stand_in.finish()
        self._live.stop()
        self._step_aside()
        LiveDisplay._drawing = None

    def let_go(self) -> None:
        """The program has its streams back, and nothing is drawn: for the child of a fork.

        It has no thread that draws, and whatever lock the parent's threads held stays locked in it.
        """
        for stand_in in self._stands_in.values():
            stand_in.let_go()
        self._step_aside()

    def _stand_in(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # A stream that leads elsewhere (`2>log`) cannot tear the picture.
            if stream is not None and stream.isatty():
                self._stands_in[name] = Above(self._live.console, stream)
                setattr(sys, name, self._stands_in[name])
        of_stream = {id(each.stream): each for each in self._stands_in.values()}
        of_stream |= {
            id(real): self._stands_in[name]
            for name, real in (("stdout", sys.__stdout__), ("stderr", sys.__stderr__))
            if name in self._stands_in
        }
        for handler in _stream_handlers():
            # Handlers hold the stream they were made with, past the one that stands in for it now.
            stand_in = of_stream.get(id(handler.stream))
            if stand_in is not None:
                self._redirected.append((handler, stand_in))
                handler.setStream(stand_in)

    def _step_aside(self) -> None:
        for handler, stand_in in self._redirected:
            if handler.stream is stand_in:
                handler.stream = stand_in.stream
        for name, stand_in in self._stands_in.items():
            if getattr(sys, name) is stand_in:
                setattr(sys, name, stand_in.stream)
        self._redirected.clear()
        self._stands_in.clear()


def _let_go_in_child() -> None:
    drawing, LiveDisplay._drawing = LiveDisplay._drawing, None
    LiveDisplay._lock_of_terminal = threading.Lock()
    if drawing is not None:
        drawing.let_go()


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    return [
        handler
        for each in loggers
        if isinstance(each, logging.Logger)
        for handler in each.handlers
        if isinstance(handler, logging.StreamHandler)
    ]
