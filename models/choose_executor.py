"""Which executor a daemon uses: the one it is told to, or the faster one, as measured here."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
import torch

from common.errors import ConfigurationError
from common.files import put_aside, write_atomically
from models import onnx_export
from models.agreement import AGREEMENT, difference
from models.executor import CompiledSegment, Executor, TorchExecutor
from models.memory_errors import is_out_of_memory
from models.model import Model
from models.onnx_executor import OnnxExecutor
from models.sample_frame import sample_image

log = structlog.get_logger()

CHOICES = ("auto", "torch", "onnxruntime")
RUNS = 7
"""Runs of the whole network on each executor, in turn; the first of each warms up."""
LONGEST_PREPARE_S = 1.0
"""A cloud's frames wait while a cut is prepared; with half a gigabyte of weights (VGG) onnxruntime takes a second."""
MEASURED_AS = 2
"""What was measured otherwise is measured anew: 1 copied the weights for each cut."""


def choose_executor(
    choice: str, model: Model, torch_executor: TorchExecutor, directory: Path, served: Sequence[Model] = ()
) -> Executor:
    """Return the executor for `model`; `served` are the models whose networks in `directory` are needed, too.

    `auto` takes onnxruntime where it is installed, computes the same, and is faster; what was measured is kept in
    `directory`. Raises `ConfigurationError` where onnxruntime is asked for and cannot be had, `ModelError` for a
    model that it cannot run.
    """
    if choice == "torch":
        return torch_executor
    if torch_executor.device != "cpu":
        if choice == "onnxruntime":
            raise ConfigurationError(
                f"executor onnxruntime runs on the CPU here, and the device is {torch_executor.device}; use torch"
            )
        return torch_executor
    if choice == "onnxruntime":
        return _onnx_executor(model, torch_executor, directory, served)
    if reason := onnx_export.why_not():
        log.info("executor torch", reason=reason)
        return torch_executor
    path = directory / f"executor-{model.fingerprint.digest}-{torch_executor.threads}.json"
    if _read(path, torch_executor) == torch_executor.name:
        return torch_executor
    try:
        onnx_executor = _onnx_executor(model, torch_executor, directory, served)
        if _read(path, torch_executor) == onnx_executor.name:
            return onnx_executor
        return _faster(model, torch_executor, onnx_executor, path)
    except Exception as error:  # a model that three other packages cannot digest runs on torch all the same
        log.warning("executor torch", reason=f"{type(error).__name__}: {error}"[:500])
        if is_passing(error):
            log.warning("the executor is chosen anew at the next start: that may be over by then")
            return torch_executor
        _keep(path, torch_executor, {"executor": torch_executor.name, "reason": str(error)[:500]})
        return torch_executor


def is_passing(error: BaseException | None) -> bool:
    """Say whether an error, or its cause, is of the machine at this moment (memory, disk) and not of the model."""
    while error is not None:
        if isinstance(error, OSError) or is_out_of_memory(error):
            return True
        error = error.__cause__
    return False


def _onnx_executor(
    model: Model, torch_executor: TorchExecutor, directory: Path, served: Sequence[Model]
) -> OnnxExecutor:
    began = time.perf_counter()
    network = onnx_export.load_or_export(model, directory, served)
    log.info("ONNX network ready", seconds=round(time.perf_counter() - began, 1))
    return OnnxExecutor(model, torch_executor, network)


def _faster(model: Model, first: TorchExecutor, second: OnnxExecutor, path: Path) -> Executor:
    """Measure the network on both in turn, compare their answers, keep the result."""
    units = model.network_units
    segment = model.segment(units, units[-1:])
    (entry,) = segment.inputs
    image = sample_image(model.preprocessing.crop_size)
    began = time.perf_counter()
    compiled: dict[str, CompiledSegment] = {second.name: second.compile(segment, may_use_torch=False)}
    prepare_s = time.perf_counter() - began
    compiled[first.name] = first.compile(segment)
    times: dict[str, list[float]] = {name: [] for name in compiled}
    logits: dict[str, torch.Tensor] = {}
    for _ in range(RUNS):
        for name, one in compiled.items():
            began = time.perf_counter()
            logits[name] = one.execute({entry: image})[units[-1]]
            times[name].append((time.perf_counter() - began) * 1e3)
    ms = {name: round(statistics.median(values[1:]), 2) for name, values in times.items()}
    apart = difference(logits[first.name], logits[second.name])
    chosen: Executor = first if ms[first.name] <= ms[second.name] else second
    if not apart <= AGREEMENT:
        log.warning("onnxruntime computes something else, torch is used", difference=f"{apart:.1e}")
        chosen = first
    if prepare_s > LONGEST_PREPARE_S:
        log.info("onnxruntime takes too long to prepare a cut, torch is used", seconds=round(prepare_s, 1))
        chosen = first
    log.info(f"executor {chosen.name}", **{f"{name}_ms": value for name, value in ms.items()})
    _keep(path, first, {"executor": chosen.name, "ms": ms, "difference": apart})
    return chosen


def _keep(path: Path, executor: TorchExecutor, found: dict[str, Any]) -> None:
    """Save what was chosen, for this device and these versions."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({**found, **_valid_for(executor)}, indent=1) + "\n")
    except OSError as error:
        log.warning("the executor is chosen anew at the next start", reason=error.strerror)


def _valid_for(executor: TorchExecutor) -> dict[str, Any]:
    return {
        "device": executor.device_description,
        "versions": onnx_export.versions(),
        "measured_as": MEASURED_AS,
    }


def _read(path: Path, executor: TorchExecutor) -> str | None:
    """Return the name of the executor that was chosen on this device before, if any."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        valid = all(document.get(name) == value for name, value in _valid_for(executor).items())
        return str(document["executor"]) if valid else None
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        log.warning(
            "what is known of the executor is damaged",
            path=str(path),
            reason=f"{type(error).__name__}: {error}",
            kept=str(put_aside(path)),
        )
        return None
