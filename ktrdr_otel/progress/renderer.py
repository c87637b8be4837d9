"""Text for a progress state, made when somebody reads it."""

from abc import ABC, abstractmethod
from typing import Any

from ktrdr_otel import semconv
from ktrdr_otel.progress import messages
from ktrdr_otel.progress.state import GenericProgressState


class ProgressRenderer(ABC):
    """How one domain says where its operations are."""

    @abstractmethod
    def render_message(self, state: GenericProgressState) -> str:
        """The message for that state."""

    @abstractmethod
    def enhance_state(self, state: GenericProgressState) -> GenericProgressState:
        """The state with what the domain can add to it."""


class TrainingProgressRenderer(ProgressRenderer):
    """Says preprocessing with symbol, timeframe and item, training with epoch, batch and GPU.

    >>> renderer = TrainingProgressRenderer()
    >>> context = {"epoch_index": 5, "total_epochs": 100, "batch_number": 120, "batch_total_per_epoch": 500}
    >>> renderer.render_message(GenericProgressState("op", 5, 100, 9.0, "", context=context))
    'Epoch 5/100 · Batch 120/500'
    """

    def __init__(self) -> None:
        self._current_context: dict[str, Any] = {}

    def render_message(self, state: GenericProgressState) -> str:
        """The seed's message for the state; its own message where its context says too little."""
        context = state.context
        step = context.get("preprocessing_step")
        if step == semconv.COMPUTING_INDICATOR and "indicator_name" in context:
            return messages.describe(semconv.INDICATOR_COMPUTATION, context)
        if step == semconv.GENERATING_FUZZY and "fuzzy_set_name" in context:
            return messages.describe(semconv.FUZZY_GENERATION, context)
        phase = context.get("phase")
        if phase == "preprocessing" and step is not None and "symbol" in context:
            return messages.describe(semconv.PREPROCESSING, context)
        if phase in ("preprocessing", "preparation"):
            return state.message
        return self._training(state)

    def enhance_state(self, state: GenericProgressState) -> GenericProgressState:
        """The same state; its context already says all."""
        self._current_context.update(state.context)
        return state

    def _training(self, state: GenericProgressState) -> str:
        context = state.context
        index, total = context.get("epoch_index") or 0, context.get("total_epochs") or 0
        if not (index > 0 and total > 0):
            return state.message
        batch, batches = context.get("batch_number"), context.get("batch_total_per_epoch")
        if batch is None or not batches:
            batch = None
        return messages.epoch(index, total, batch, batches) + _gpu(context.get("resource_usage"))


def _gpu(usage: object) -> str:
    if not isinstance(usage, dict) or not usage.get("gpu_used"):
        return ""
    utilisation = usage.get("gpu_utilization_percent")
    if utilisation is None:
        return ""
    return f" 🖥️ {usage.get('gpu_name') or 'GPU'}: {utilisation:.0f}%"
