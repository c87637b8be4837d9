"""Where a training runs: the GPU when there is one, and how busy that is."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import torch
from torch import nn

from pipeline.errors import InputError

# Multiplications per batch below which one thread is as fast as several, on a machine that does nothing else.
_WORTH_SHARING: Final = 50_000_000


def choose_device(prefer: Literal["auto", "cpu", "cuda"] = "auto") -> torch.device:
    """The device to train on; raises `InputError` when a GPU is asked for and there is none."""
    if prefer == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if prefer == "cuda":
        raise InputError("no usable GPU", hint="leave the device to auto, or say cpu")
    return torch.device("cpu")


@contextmanager
def threads_for(model: nn.Module, rows: int) -> Iterator[None]:
    """The block computes `rows` at once: with one thread if that is little, unless `OMP_NUM_THREADS` says how many.

    Threads that share little work wait for each other most of the time, and they wait busily: beside other busy
    processes an epoch of the sample strategy took 10 s instead of 0.1.
    """
    before = torch.get_num_threads()
    weights = sum(parameter.numel() for parameter in model.parameters())
    if "OMP_NUM_THREADS" not in os.environ and weights * rows < _WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gpu_utilisation() -> float | None:
    """How busy the first GPU is, in percent; None without a GPU or without the package nvidia-ml-py."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
        return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError:
        return None


def warm_up() -> None:
    """All that torch imports late is imported: an optimiser drags in its compiler, seconds that belong to no step."""
    importlib.import_module("torch._dynamo")
