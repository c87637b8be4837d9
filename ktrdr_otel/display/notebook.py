"""The display of a notebook: one output that is replaced in place."""

import io
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from rich.console import Console

from ktrdr_otel.display.panel import OperationPanel
from ktrdr_otel.display.picture import Picture
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit

_INTERVAL_SECONDS = 0.25
_COLUMNS = 100
_PAGE = '<pre style="font-family:monospace;line-height:1.3">{code}</pre>'


class NotebookDisplay(OperationPanel):
    """Shows the picture as HTML through IPython, which the notebook has loaded."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(monotonic=monotonic)
        self._display: Any = sys.modules["IPython"].display
        self._id = f"ktrdr-otel-{uuid.uuid4().hex}"
        self._next = float("-inf")

    def operation_started(self, operation: NewOperation) -> None:
        """The output is there."""
        super().operation_started(operation)
        self._display.display(self._html(), display_id=self._id)

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """The output follows, four times a second at most."""
        super().unit_started(unit, progress)
        self._refresh()

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """The output follows."""
        super().unit_finished(unit, progress)
        self._refresh()

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """The output follows."""
        super().ticked(tick, progress)
        self._refresh()

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """The output shows the end."""
        super().status_changed(operation_id, status, progress, error)
        self._next = float("-inf")
        self._refresh()

    def close(self) -> None:
        """The output stays as it is."""

    def _refresh(self) -> None:
        now = self._monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL_SECONDS
            self._display.update_display(self._html(), display_id=self._id)

    def _html(self) -> Any:
        console = Console(
            record=True, width=_COLUMNS, file=io.StringIO(), force_jupyter=False, force_terminal=False
        )
        console.print(Picture(self.heard()))
        return self._display.HTML(console.export_html(inline_styles=True, code_format=_PAGE))
