"""What a daemon stands on, as a child process that is the daemon's user finds it: a line of JSON for each part.

    python -m models.runtime_probe MODEL WEIGHTS [MODEL WEIGHTS …]

A child, because a wrong build of torch does not raise: it ends the process (SIGILL). Lines are written as parts are
done, so the last one tells how far it came. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    arguments = sys.argv[1:]
    _tell("machine", _machine)
    _tell("torch", _torch)
    _tell("torchvision", _torchvision)
    _tell("onnxruntime", _onnxruntime)
    _tell("iperf3", _iperf3)
    for name, weights in zip(arguments[::2], arguments[1::2], strict=True):
        _tell("model", lambda: _model(name, weights))  # noqa: B023 (called at once)
    return 0


def _tell(part: str, look: Callable[[], dict[str, Any]]) -> None:
    print(json.dumps({"part": part, "begins": True}), flush=True)
    try:
        found = look()
    except Exception as error:  # what is broken is what we are here for; a user's model may raise anything
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"part": part, **found}), flush=True)


def _machine() -> dict[str, Any]:
    features: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("flags", "features"):
                features.update(value.split())
    wanted = {"avx", "avx2", "avx512f", "asimd", "asimddp", "neon", "sve", "i8mm"}
    return {
        "architecture": platform.machine(),
        "features": sorted(features & wanted),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _torch() -> dict[str, Any]:
    import torch

    begun = time.perf_counter()
    product = torch.rand(64, 64) @ torch.rand(64, 64)
    convolved = torch.nn.functional.conv2d(torch.rand(1, 3, 32, 32), torch.rand(8, 3, 3, 3))
    return {
        "version": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda_build": torch.version.cuda,
        "cuda_devices": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "finite": bool(torch.isfinite(product).all() and torch.isfinite(convolved).all()),
        "seconds": time.perf_counter() - begun,
    }


def _torchvision() -> dict[str, Any]:
    from models.torchvision_shim import compiled_operators, torchvision

    return {"version": torchvision.__version__, "operators": compiled_operators}


def _onnxruntime() -> dict[str, Any]:
    import onnx
    import onnxscript

    from models.onnxruntime_silent import onnxruntime

    return {"version": onnxruntime.__version__, "export": f"{onnx.__version__}, {onnxscript.__version__}"}


def _iperf3() -> dict[str, Any]:
    import iperf3

    return {"version": str(iperf3.Client().iperf_version)}


def _model(name: str, weights: str) -> dict[str, Any]:
    from dataclasses import asdict

    from models.zoo import load_model, published_weights_file

    missing = published_weights_file(name) if weights == "default" else None
    if missing is not None and not missing.exists():
        return {"name": name, "weights": weights, "to_download": str(missing)}
    model = load_model(name, weights)
    return {
        "name": name,
        "weights": weights,
        "fingerprint": asdict(model.fingerprint),
        "units": len(model.graph),
    }


if __name__ == "__main__":
    sys.exit(main())
