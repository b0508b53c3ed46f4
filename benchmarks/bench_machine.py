"""The machine a benchmark ran on, in words and figures that others can compare theirs with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

import psutil

from models.executor import describe_cpu

_PACKAGES = ("torch", "torchvision", "onnxruntime", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True)
class Machine:
    """What there was to run on. `cores` are those this process may use."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    packages: tuple[str, ...]

    @classmethod
    def this(cls) -> Machine:
        return cls(
            cpu=describe_cpu(),
            cores=len(os.sched_getaffinity(0)),
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            packages=tuple(f"{name} {version}" for name in _PACKAGES if (version := _version(name))),
        )

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gib:g} GiB of memory; {self.system}, "
            f"Python {self.python}, {', '.join(self.packages)}"
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
