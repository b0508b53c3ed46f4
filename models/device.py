"""Which device a daemon computes on, and the torch executor for it."""

from __future__ import annotations

import torch

from common.errors import ConfigurationError
from models.executor import TorchExecutor
from models.precision import Precision


def make_executor(
    device: str, threads: int = 0, slowdown: float = 1.0, precision: Precision = "float32"
) -> TorchExecutor:
    """Return the torch executor for `device`: `cpu`, `cuda`, `cuda:1`, or `auto` (CUDA where there is one).

    Raises `ConfigurationError` for a device that is not there, for numbers out of range, and for half precision
    on a CPU.
    """
    found = _find_device(device)
    if found == "cpu":
        if precision != "float32":
            raise ConfigurationError(
                f"precision {precision} is for CUDA, and the device is the CPU; use float32"
            )
        return TorchExecutor("cpu", threads, slowdown)
    # Not before it is needed: no CPU installation runs a line of it.
    from models.cuda_device import CudaDevice
    from models.cuda_executor import CudaExecutor

    return CudaExecutor(CudaDevice(found), threads, slowdown, precision)


def _find_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind == "cpu" and not number:
        return device
    if kind != "cuda" or (number and not number.isdigit()):
        raise ConfigurationError(f"device {device!r}: expected auto, cpu, cuda or cuda:NUMBER")
    if not torch.cuda.is_available():
        raise ConfigurationError(
            f"device {device!r}: this torch ({torch.__version__}) finds no CUDA device; "
            "install a CUDA build of torch and the driver, or use device auto or cpu"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise ConfigurationError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA devices")
    return device
