"""The same cuts through `torch.distributed.rpc` (TensorPipe), ParetoPipe's second backend: both of its ends.

    python -m benchmarks.rpc_worker cloud HOST:PORT DEVICE MODEL WEIGHTS
    python -m benchmarks.rpc_worker edge  HOST:PORT DEVICE MODEL WEIGHTS SLOWDOWN FRAMES_DIRECTORY RUNS

Head and tail are the very segments that the daemons run, on one thread each; only the channel differs. The edge
reads cuts from its standard input and answers each with a line of JSON: closed-loop latencies in ms with the bytes of
tensors that crossed for each, and saturated frames per second.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
import warnings
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed.rpc as rpc

from common.plan import Cut
from models.executor import CompiledSegment, TorchExecutor
from models.model import Model
from models.preprocess import as_frame
from models.zoo import load_model

IN_FLIGHT = 4
WARM, FILL = 2, 3

_tails: Tails | None = None


class Tails:
    """The cloud's side: tails by the label of their cut."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._executor = TorchExecutor("cpu", 1)
        self._turn = threading.Lock()
        """One at a time, as on the daemon's compute thread: RPC would run several at once."""

    @lru_cache(maxsize=64)  # noqa: B019  (one object for the life of the process)
    def get(self, label: str) -> CompiledSegment:
        cut = Cut.from_label(self._model.graph, label)
        return self._executor.compile(self._model.segment(cut.cloud_units, (self._model.graph.sink,)))

    def run(self, label: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        with self._turn:
            return self.get(label).run(tensors)[self._model.graph.sink]


def run_tail(label: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Run a frame's tail: called by the edge, in the cloud's process."""
    assert _tails is not None
    return _tails.run(label, tensors)


def connect(role: str, address: str, device: str) -> None:
    """Join the two processes over TCP: shared memory, which two processes of one machine would get, is no link."""
    os.environ["TP_SOCKET_IFNAME"] = os.environ["GLOO_SOCKET_IFNAME"] = device
    options = rpc.TensorPipeRpcBackendOptions(
        init_method=f"tcp://{address}",
        rpc_timeout=120,
        num_worker_threads=8,
        _transports=["uv"],
        _channels=["basic"],
    )
    rank = {"cloud": 0, "edge": 1}[role]
    rpc.init_rpc(  # type: ignore[no-untyped-call]
        role, rank=rank, world_size=2, rpc_backend_options=options
    )


class Heads:
    """The edge's side: heads by the label of their cut, and a supply of frames."""

    def __init__(self, model: Model, slowdown: float, frames: list[bytes]) -> None:
        self._model = model
        self._executor = TorchExecutor("cpu", 1, slowdown)
        self._frames = itertools.cycle(frames)

    @lru_cache(maxsize=64)  # noqa: B019
    def get(self, label: str) -> CompiledSegment | None:
        cut = Cut.from_label(self._model.graph, label)
        if len(cut.edge_units) == 1:
            return None
        return self._executor.compile(self._model.segment(cut.edge_units, cut.crossing))

    def run(self, label: str) -> dict[str, torch.Tensor]:
        head = self.get(label)
        frame = {self._model.graph.source: as_frame(next(self._frames))}
        return head.run(frame) if head is not None else frame


def measure(heads: Heads, label: str, runs: int) -> dict[str, Any]:
    """Measure one cut: closed-loop, then with `IN_FLIGHT` frames on the way."""
    latencies, bytes_up = [], []
    for _ in range(WARM + runs):
        began = time.perf_counter()
        crossing = heads.run(label)
        rpc.rpc_sync("cloud", run_tail, (label, crossing))
        latencies.append((time.perf_counter() - began) * 1e3)
        bytes_up.append(sum(tensor.nbytes for tensor in crossing.values()))
    on_the_way: deque[Any] = deque()
    ended: list[float] = []  # appended to when answers arrive, whoever waits for them
    for _ in range(FILL + runs):
        while len(on_the_way) >= IN_FLIGHT:
            on_the_way.popleft().wait()
        answer = rpc.rpc_async("cloud", run_tail, (label, heads.run(label)))
        answer.add_done_callback(lambda _: ended.append(time.perf_counter()))
        on_the_way.append(answer)
    while on_the_way:
        on_the_way.popleft().wait()
    while len(ended) < FILL + runs:  # the last call-back may still be on its way
        time.sleep(0.001)
    ended.sort()
    counted = ended[FILL - 1 :]
    return {
        "cut": label,
        "latencies_ms": latencies[WARM:],
        "bytes_up": bytes_up[WARM:],
        "fps": (len(counted) - 1) / (counted[-1] - counted[0]),
    }


def main() -> int:
    global _tails
    role, address, device, name, weights, *rest = sys.argv[1:]
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="You are using a Backend", category=UserWarning)
    model = load_model(name, weights)
    if role == "cloud":
        torch.set_num_threads(1)
        _tails = Tails(model)
        connect(role, address, device)
        rpc.shutdown()  # waits until the edge is done
        return 0
    slowdown, directory, runs = rest
    frames = [path.read_bytes() for path in sorted(Path(directory).glob("*.jpg"))]
    heads = Heads(model, float(slowdown), frames)
    connect(role, address, device)
    for line in sys.stdin:
        print(json.dumps(measure(heads, line.strip(), int(runs))), flush=True)
    rpc.shutdown()
    return 0


if __name__ == "__main__":
    sys.modules["benchmarks.rpc_worker"] = sys.modules["__main__"]  # the name under which the edge calls it
    run_tail.__module__ = "benchmarks.rpc_worker"
    sys.exit(main())
