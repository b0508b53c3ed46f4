"""Many edges on one cloud: the throughput beside what its executor reaches alone, and each edge's share.

    python -m benchmarks.many_edges --model resnet18 --cut "after add_3" --edges 16

A real cloud daemon on one core, light edges in one process on another: each sends the same crossing tensors in a
closed loop. After each round the cloud idles, and the same executor runs the same cut on the same core in a bare
loop, in the batch sizes that the cloud has just used; so both see the machine at the same speed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.bare_executor import serve
from benchmarks.light_edges import Counts, LightEdge
from benchmarks.pair import Cloud, free_port
from common.plan import Cut
from models.crossing import to_wire
from models.executor import TorchExecutor
from models.model import PREPROCESSING_UNITS, Model
from models.preprocess import as_frame
from models.sample_frame import sample_frame
from models.zoo import load_model

CLOUD_CORE, EDGES_CORE = 0, 1
HEADING = (
    "frames/s    alone   ratio   frames of an edge: least, mean, most, least/mean   "
    "latency, of it others' (ms)   busy/failed   batches"
)
READY_S = 300.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round: frames/s of all edges together and of the bare loop, each edge's answers, the batches used."""

    fps: float
    bare_fps: float
    answers: tuple[int, ...]
    batches: dict[int, int]
    latency_ms: float
    others_ms: float
    busy: int
    failed: int

    @property
    def ratio(self) -> float:
        return self.fps / self.bare_fps

    @property
    def slowest(self) -> float:
        """The slowest edge's share of the mean."""
        return min(self.answers) / statistics.fmean(self.answers)


async def drive(
    edges: list[LightEdge], seconds: float, settle_s: float, in_flight: int
) -> tuple[float, list[Counts]]:
    """Have all edges send for a while; return for how long was counted, and what each got meanwhile."""
    for edge in edges:
        edge.begin(in_flight)
    await asyncio.sleep(settle_s)
    for edge in edges:
        edge.counts = Counts()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    counted = [edge.counts for edge in edges]
    took_s = time.perf_counter() - began
    for edge in edges:
        edge.counts = Counts()
        edge.end()
    while not all(edge.idle for edge in edges):  # noqa: ASYNC110 (counts of many connections)
        await asyncio.sleep(0.01)
    return took_s, counted


async def one_round(
    edges: list[LightEdge], pipe: Connection, options: argparse.Namespace, settle_s: float
) -> Round:
    took_s, counted = await drive(edges, options.seconds, settle_s, options.in_flight)
    frames = sum((counts.batches for counts in counted), Counter())
    batches = {size: max(round(count / size), 1) for size, count in sorted(frames.items())}
    bare_frames, bare_s = await asyncio.to_thread(_bare, pipe, batches, options.seconds / 2)
    latencies = [latency for counts in counted for latency in counts.latencies_s]
    return Round(
        fps=sum(counts.answers for counts in counted) / took_s,
        bare_fps=bare_frames / bare_s,
        answers=tuple(counts.answers for counts in counted),
        batches=batches,
        latency_ms=statistics.median(latencies) * 1e3,
        others_ms=statistics.median(ms for counts in counted for ms in counts.others_ms),
        busy=sum(counts.busy for counts in counted),
        failed=sum(counts.failed for counts in counted),
    )


def _bare(pipe: Connection, batches: dict[int, int], seconds: float) -> Any:
    pipe.send((batches, seconds))
    return pipe.recv()


async def measure(model: Model, cut: Cut, pipe: Connection, options: argparse.Namespace) -> list[Round]:
    """Start a cloud and its edges, and run the rounds."""
    tensors = {model.graph.source: as_frame(sample_frame())}
    if len(cut.edge_units) > 1:
        tensors = TorchExecutor("cpu", 1).compile(model.segment(cut.edge_units, cut.crossing)).run(tensors)
    entries, chunks = to_wire(model.graph, tensors)
    print(f"{cut.label}: {sum(e.nbytes for e in entries) / 1e3:.0f} kB a frame, {options.edges} edges, "
          f"{options.in_flight} frames each")  # fmt: skip
    cloud = Cloud(
        options.out, port=free_port(), prefix=["taskset", "-c", str(CLOUD_CORE)],
        CLEAVE_MODEL=options.model, CLEAVE_WEIGHTS=options.weights, CLEAVE_CLOUD_THREADS=1,
        CLEAVE_CLOUD_DEVICE="cpu", CLEAVE_CLOUD_EXECUTOR=options.executor,
        CLEAVE_CLOUD_BATCH_MAX=options.batch_max, CLEAVE_CLOUD_BATCH_WAIT_MS=options.batch_wait_ms,
    )  # fmt: skip
    async with cloud:
        await cloud.listening(READY_S)
        edges = []
        for number in range(options.edges):
            edge = LightEdge(entries, chunks)
            await edge.connect(*cloud.address)
            await edge.ready(model, f"edge {number}", cut)
            edges.append(edge)
        await cloud.until(
            "batches", lambda: cloud.logged("batches measured") or options.batch_max == 1, READY_S
        )
        for entry in cloud.logged("batches measured"):
            print(f"the cloud's batches, ms by size: {entry['ms']}")
        print(HEADING)
        rounds = []
        for number in range(options.rounds):
            rounds.append(await one_round(edges, pipe, options, settle_s=2.0 if number == 0 else 1.0))
            print(line(rounds[-1]), flush=True)
        for edge in edges:
            edge.channel.abort()
        return rounds


def line(one: Round) -> str:
    edges = f"{min(one.answers)} {statistics.fmean(one.answers):.1f} {max(one.answers)} {one.slowest:.2f}"
    waits = f"{one.latency_ms:.0f} {one.others_ms:.0f}"
    return (
        f"{one.fps:8.1f} {one.bare_fps:8.1f} {one.ratio:7.2f}   {edges:>48}   {waits:>27}   "
        f"{one.busy}/{one.failed}           {one.batches}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--cut", default="after add_3", help="a cut's label; edge-only has no tail")
    parser.add_argument("--edges", type=int, default=16)
    parser.add_argument("--in-flight", type=int, default=2, help="frames of each edge on their way at a time")
    parser.add_argument("--executor", default="onnxruntime", choices=("torch", "onnxruntime"))
    parser.add_argument("--batch-max", type=int, default=8)
    parser.add_argument("--batch-wait-ms", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("var/many-edges"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {EDGES_CORE})
    model = load_model(options.model, options.weights)
    cut = Cut.from_label(model.graph, options.cut)
    if set(cut.cloud_units) & set(PREPROCESSING_UNITS) or not cut.cloud_units:
        parser.error("the cut must leave the network, or the end of it, to the cloud: after normalize, say")
    spawn = multiprocessing.get_context("spawn")
    pipe, theirs = spawn.Pipe()
    arguments = (
        theirs,
        options.model,
        options.weights,
        options.cut,
        options.executor,
        options.out,
        CLOUD_CORE,
    )
    bare = spawn.Process(target=serve, args=arguments, daemon=True)
    bare.start()
    theirs.close()
    print(f"executor {pipe.recv()}, one thread")
    try:
        rounds = asyncio.run(measure(model, cut, pipe, options))
    finally:
        pipe.close()
        bare.join(5)
    ratio = statistics.median(one.ratio for one in rounds)
    slowest = statistics.median(one.slowest for one in rounds)
    print(f"medians: {ratio:.2f} of the executor alone; the slowest edge gets {slowest:.2f} of the mean")
    document = {"options": {k: str(v) for k, v in vars(options).items()}, "ratio": ratio, "slowest": slowest}
    (options.out / "many_edges.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
