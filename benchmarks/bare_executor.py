"""What an executor reaches alone: batches of given sizes in a loop, in a process of its own, on a core of its own.

Its parent says how often which size, and for how long; it answers frames and seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from common.graph import ModelGraph
from common.plan import Cut
from models.choose_executor import choose_executor
from models.executor import CompiledSegment, TorchExecutor
from models.zoo import load_model


def serve(
    pipe: Connection,
    model_name: str,
    weights: str,
    label: str,
    executor_name: str,
    state: Path,
    core: int | None,
) -> None:
    """Answer requests ({size: times}, seconds) with (frames, seconds) until the pipe is closed."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    model = load_model(model_name, weights)
    executor = choose_executor(executor_name, model, TorchExecutor("cpu", 1), state)
    cut = Cut.from_label(model.graph, label)
    compiled = executor.compile(model.segment(cut.cloud_units, (model.graph.sink,)))
    inputs: dict[int, dict[str, torch.Tensor]] = {}
    pipe.send(executor.name)
    while True:
        try:
            histogram, seconds = pipe.recv()
        except EOFError:
            return
        for size in histogram:
            if size not in inputs:
                inputs[size] = _inputs(model.graph, compiled.segment.inputs, size)
            compiled.run(inputs[size])
        pipe.send(_loop(compiled, inputs, histogram, seconds))


def _inputs(graph: ModelGraph, names: Sequence[str], size: int) -> dict[str, torch.Tensor]:
    """Make inputs of `size` frames, in the memory order that they arrive in at a cloud."""
    made: dict[str, torch.Tensor] = {}
    for name in names:
        spec = graph[name].output
        assert spec is not None
        tensor = torch.randn(size * spec.shape[0], *spec.shape[1:])
        made[name] = tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
    return made


def _loop(
    compiled: CompiledSegment,
    inputs: Mapping[int, Mapping[str, torch.Tensor]],
    histogram: Mapping[int, int],
    seconds: float,
) -> tuple[int, float]:
    """Run the sizes in turn for a while; return the histogram's frames, and what they take at that speed."""
    spent: dict[int, list[float]] = {size: [] for size in histogram}
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for size, times in spent.items():
            began = time.perf_counter()
            compiled.run(inputs[size])
            times.append(time.perf_counter() - began)
    frames = sum(size * count for size, count in histogram.items())
    taken_s = sum(count * sum(spent[size]) / len(spent[size]) for size, count in histogram.items())
    return frames, taken_s
