"""How busy the machine's NVIDIA GPUs are, where there are any and the extra `gpu` is installed."""

import importlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from ktrdr_otel import faults
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.state import Point

logger = logging.getLogger(__name__)


class Gpus:
    """Asks the driver at each look; what it does not tell is no number.

    A driver may hang: then one caller waits for it, and whoever asks meanwhile gets no numbers.
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._was_sought = False
        self._asking = threading.Lock()
        self.faults = 0

    def points(self) -> list[Point]:
        """Utilisation and memory of each GPU; nothing without a GPU, its driver or `nvidia-ml-py`. Never raises."""
        if not self._asking.acquire(blocking=False):
            return []
        try:
            return self._asked()
        except Exception:
            self.faults += 1
            if self.faults == 1:
                faults.report(logger, "the GPUs cannot be read; further faults are only counted")
            return []
        finally:
            self._asking.release()

    def _asked(self) -> list[Point]:
        if not self._was_sought:
            self._was_sought = True
            self._nvml = _loaded()
        if self._nvml is None:
            return []
        try:
            return [point for index in range(self._nvml.nvmlDeviceGetCount()) for point in self._of(index)]
        except self._nvml.NVMLError as error:
            logger.debug("the GPUs are not read: %s", error)
            return []

    def _of(self, index: int) -> Iterator[Point]:
        nvml, own = self._nvml, (str(index),)
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        yield instruments.GPU_MEMORY, own, float(memory.used)
        yield instruments.GPU_MEMORY_LIMIT, own, float(memory.total)
        try:
            busy_percent = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
        except nvml.NVMLError_NotSupported:  # a GPU that is partitioned does not tell
            return
        yield instruments.GPU_UTILIZATION, own, busy_percent / 100


def _loaded() -> Any:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:  # no driver, no GPU
        logger.debug("there are no GPUs to read: %s", error)
        return None
    return nvml
