"""Where a training runs: the GPU when there is one, and how busy that is."""

import importlib
from typing import Literal

import torch

from pipeline.errors import InputError


def choose_device(prefer: Literal["auto", "cpu", "cuda"] = "auto") -> torch.device:
    """The device to train on; raises `InputError` when a GPU is asked for and there is none."""
    if prefer == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if prefer == "cuda":
        raise InputError("no usable GPU", hint="leave the device to auto, or say cpu")
    return torch.device("cpu")


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
