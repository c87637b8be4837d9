"""The latest update of an operation: kept for readers, told to a manager or a callback, and never falling."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ktrdr_otel.clock import isoformat, utc_from_ns
from ktrdr_otel.errors import CancellationError
from ktrdr_otel.progress.manager import GenericProgressManager
from ktrdr_otel.progress.plan import Plan


class ProgressBridge:
    """What every bridge does with what its `on_...` methods are told, whatever the domain.

    With a plan the percentage is the plan's. It never falls, from whatever threads the calls come.
    """

    def __init__(
        self,
        progress_manager: GenericProgressManager | None,
        update_progress_callback: Callable[..., None] | None,
        cancellation_token: Any,
        plan: Plan | None,
    ) -> None:
        if progress_manager is None and update_progress_callback is None:
            raise ValueError("progress_manager or update_progress_callback must be provided")
        self._progress_manager = progress_manager
        self._update_callback = update_progress_callback
        self._cancellation_token = cancellation_token
        self._plan = plan
        self._total_epochs = 1
        self._total_batches: int | None = None
        self._last_epoch_step = 0
        self._last_percentage = 0.0
        self._last_items_processed = 0
        self._last_emitted_ns = time.time_ns()
        self._message = ""
        self._phase = ""
        self._progress_type: str | None = None
        self._last_context: Mapping[str, Any] = {}
        self._metrics: list[dict[str, Any]] = []
        # Held while a change is told, so that what is told never falls either; a callback may ask back.
        self._lock = threading.RLock()

    def refresh(self) -> None:
        """The percentage follows the plan; message and context stay."""
        if self._plan is None:
            return
        self._emit(
            current_step=self._last_epoch_step,
            percentage=self._last_percentage,
            message=self._message,
            items_processed=self._last_items_processed,
            phase=self._phase,
            progress_type=self._progress_type,
            context=self._last_context,
        )

    @property
    def has_plan(self) -> bool:
        """Whether the percentage comes from a plan."""
        return self._plan is not None

    def adopt(self, plan: Plan) -> None:
        """The percentage comes from that plan from now on; it does not fall."""
        self._plan = plan

    def get_status(self) -> dict[str, Any]:
        """The latest update: its context, `phase percentage message current_step items_processed timestamp`."""
        return {
            **self._last_context,
            "phase": self._phase,
            "percentage": self._last_percentage,
            "message": self._message,
            "current_step": self._last_epoch_step,
            "items_processed": self._last_items_processed,
            "timestamp": isoformat(utc_from_ns(self._last_emitted_ns)),
        }

    def get_metrics(self, cursor: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The epochs' metrics from that cursor on, and the cursor to go on from."""
        return self._metrics[cursor:], len(self._metrics)

    @property
    def percentage(self) -> float:
        """0-100, never falls."""
        return self._last_percentage

    @property
    def message(self) -> str:
        """The latest message."""
        return self._message

    @property
    def phase(self) -> str:
        """The phase of the latest update."""
        return self._phase

    @property
    def progress_type(self) -> str | None:
        """The type of the step that is under way; None where the latest update tells of no step."""
        return self._progress_type

    @property
    def current_context(self) -> Mapping[str, Any]:
        """The context of the latest update."""
        return self._last_context

    def _check_cancelled(self) -> None:
        token = self._cancellation_token
        if token is not None and token.is_cancelled():
            raise CancellationError("Training operation cancelled")

    def _emit(
        self,
        *,
        current_step: int,
        percentage: float,
        message: str,
        items_processed: int,
        phase: str,
        progress_type: str | None,
        context: Mapping[str, Any],
    ) -> None:
        with self._lock:
            if self._plan is not None:
                percentage = self._plan.ratio() * 100.0
            if percentage > self._last_percentage:
                self._last_percentage = min(percentage, 100.0)
            self._last_epoch_step = max(0, min(current_step, self._total_epochs))
            self._last_items_processed = max(0, items_processed)
            self._last_emitted_ns = time.time_ns()
            self._message = message
            self._phase = phase
            self._progress_type = progress_type
            self._last_context = context
            if self._progress_manager is not None:
                self._progress_manager.advance(
                    current_step=self._last_epoch_step,
                    percentage=self._last_percentage,
                    message=message,
                    items_processed=self._last_items_processed,
                    total_items=self._total_batches,
                    context={**context, "phase": phase},
                )
            if self._update_callback is not None:
                # One dictionary: a stranger's context may have keys of the same names, which must not win.
                told = {
                    **context,
                    "phase": phase,
                    "step": self._last_epoch_step,
                    "message": message,
                    "items_processed": self._last_items_processed,
                    "percentage": self._last_percentage,
                }
                self._update_callback(**told)
