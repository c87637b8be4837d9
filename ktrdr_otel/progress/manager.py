"""The live state of one operation: latest wins, and the percentage never falls."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ktrdr_otel.progress.renderer import ProgressRenderer
from ktrdr_otel.progress.state import GenericProgressState

logger = logging.getLogger(__name__)


class GenericProgressManager:
    """Keeps a `GenericProgressState` and calls back with a fresh copy at each change; safe from any thread.

    The renderer, if any, words the copies that are handed out. A callback that raises is logged, and the
    operation goes on.
    """

    def __init__(
        self,
        callback: Callable[[GenericProgressState], None] | None = None,
        renderer: ProgressRenderer | None = None,
    ) -> None:
        self.callback = callback
        self.renderer = renderer
        self._state: GenericProgressState | None = None
        self._base_context: dict[str, Any] = {}
        self._lock = threading.RLock()

    def start_operation(
        self, operation_id: str, total_steps: int, context: dict[str, Any] | None = None
    ) -> None:
        """The operation is at 0 %; `context` stays in the context of all its states."""
        with self._lock:
            self._base_context = dict(context or {})
            self._state = GenericProgressState(
                operation_id,
                0,
                total_steps,
                0.0,
                f"Starting {operation_id}",
                context=dict(self._base_context),
            )
            self._trigger_callback()

    def start_step(
        self,
        step_name: str,
        step_number: int,
        step_percentage: float | None = None,
        step_end_percentage: float | None = None,
        expected_items: int | None = None,
    ) -> None:
        """A step with a range of its own in the percentage has begun; by default steps have equal shares."""
        with self._lock:
            state = self._state
            if state is None:
                logger.warning("start_step called without an operation")
                return
            share = 100.0 / state.total_steps if state.total_steps > 0 else 10.0
            begins = (step_number - 1) * share if step_percentage is None else step_percentage
            state.step_start_percentage = begins
            state.step_end_percentage = begins + share if step_end_percentage is None else step_end_percentage
            state.current_step = step_number
            state.step_current = state.step_total = 0
            state.total_items = state.total_items if expected_items is None else expected_items
            state.percentage = max(state.percentage, begins)
            state.message = f"Starting {step_name}"
            state.context.update(
                current_step_name=step_name,
                step_start_percentage=state.step_start_percentage,
                step_end_percentage=state.step_end_percentage,
            )
            self._trigger_callback()

    def update_step_progress(
        self, current: int, total: int, items_processed: int = 0, detail: str = ""
    ) -> None:
        """The step is at `current` of `total`, somewhere in its range."""
        with self._lock:
            state = self._state
            if state is None:
                logger.warning("update_step_progress called without an operation")
                return
            ratio = current / total if total > 0 else 0.0
            span = state.step_end_percentage - state.step_start_percentage
            state.step_current, state.step_total = current, total
            state.items_processed = items_processed
            state.percentage = max(state.percentage, state.step_start_percentage + ratio * span)
            state.context.update(
                step_current=current, step_total=total, step_detail=detail, step_progress_ratio=ratio
            )
            self._trigger_callback()

    def update_progress(
        self,
        step: int,
        message: str | None = None,
        items_processed: int = 0,
        context: dict[str, Any] | None = None,
    ) -> None:
        """The operation is at that step of its `total_steps`."""
        with self._lock:
            state = self._state
            if state is None:
                logger.warning("update_progress called without an operation")
                return
            percentage = min(100.0, step / state.total_steps * 100.0) if state.total_steps > 0 else 100.0
            state.percentage = max(state.percentage, percentage)
            state.current_step = step
            state.items_processed = items_processed
            state.message = message or state.message
            state.context.update(context or {})
            self._trigger_callback()

    def advance(
        self,
        *,
        current_step: int,
        percentage: float,
        message: str,
        items_processed: int,
        total_items: int | None,
        context: Mapping[str, Any],
    ) -> None:
        """The operation is there; of earlier contexts only what `start_operation` was given remains."""
        with self._lock:
            state = self._state
            if state is None:
                return
            state.current_step = current_step
            if percentage > state.percentage:
                state.percentage = percentage
            state.message = message
            state.items_processed = items_processed
            if total_items is not None:
                state.total_items = total_items
            state.context = {**self._base_context, **context}
            if self.callback is not None:
                self._trigger_callback()

    def complete_operation(self) -> None:
        """The operation is at 100 %."""
        with self._lock:
            state = self._state
            if state is None:
                logger.warning("complete_operation called without an operation")
                return
            state.current_step = state.total_steps
            state.percentage = 100.0
            state.message = f"Operation {state.operation_id} completed"
            self._trigger_callback()

    def current(self) -> GenericProgressState | None:
        """A copy of the latest state; None before an operation has begun."""
        with self._lock:
            state = self._state
            return None if state is None else dataclasses.replace(state, context=dict(state.context))

    def _trigger_callback(self) -> None:
        if self.callback is None:
            return
        try:
            state = self.current()
            if state is None:
                return
            if self.renderer is not None:
                state = self.renderer.enhance_state(state)
                state.message = self.renderer.render_message(state)
            self.callback(state)
        except Exception:
            logger.warning("Progress callback failed; the operation goes on", exc_info=True)
