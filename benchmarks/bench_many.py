"""Many edges on one cloud: the throughput beside what its executor reaches alone, and each edge's share.

    core 0: the cloud; between rounds the same executor alone      core 1: all edges, in this process

Each edge sends the same crossing tensors in a closed loop. After each round the cloud idles, and the same executor
runs the same cut on the same core in a bare loop, in the batch sizes that the cloud has just used; so both see the
machine at the same speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.bare_executor import serve
from benchmarks.bench_bars import MANY_EDGES, ROUNDS
from benchmarks.bench_part_rows import ManyRow
from benchmarks.bench_rows import ratio
from benchmarks.light_edges import Counts, LightEdge
from benchmarks.pair import Cloud, DaemonError, free_port
from common.errors import LinkLostError
from common.plan import Cut
from models.crossing import to_wire
from models.executor import TorchExecutor
from models.model import PREPROCESSING_UNITS, Model
from models.preprocess import as_frame
from models.sample_frame import sample_frame
from models.zoo import load_model

READY_S = 300.0
HEADING = (
    "frames/s    alone   ratio   frames of an edge: least, mean, most, least/mean   "
    "latency, of it others' (ms)   busy/failed   batches"
)
FIRST_SETTLE_S, SETTLE_S = 2.0, 1.0
"""From the first frame of a round until frames are counted."""
OFTEN = 0.1
"""A batch size is told of if this share of the frames ran in it."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Which tail the cloud runs, for how many edges, and how thoroughly that is measured."""

    model: str
    cut: str
    weights: str = "random:0"
    edges: int = MANY_EDGES
    in_flight: int = 2
    """Frames of each edge on their way at a time."""
    executor: str = "onnxruntime"
    batch_max: int = 8
    batch_wait_ms: float = 0.0
    seconds: float = 4.0
    """That frames are counted for in each round."""
    rounds: int = ROUNDS["many"]


@dataclass(frozen=True, slots=True)
class Round:
    """One round: frames/s of all edges together and of the bare loop, each edge's answers, the batches used."""

    fps: float
    bare_fps: float
    answers: tuple[int, ...]
    batches: Mapping[int, int]
    latency_ms: float
    others_ms: float
    busy: int
    failed: int

    @property
    def of_alone(self) -> float:
        return ratio(self.fps, self.bare_fps, without=0.0)

    @property
    def slowest(self) -> float:
        """The slowest edge's share of the mean."""
        return ratio(min(self.answers), statistics.fmean(self.answers), without=0.0)


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a load's rounds found."""

    executor: str
    payload_bytes: int
    rounds: tuple[Round, ...]


def tail_of(load: Load) -> tuple[Model, Cut]:
    """Load the model and read the cut. Raises `ValueError` for a cut that leaves the cloud no tail of the network."""
    model = load_model(load.model, load.weights)
    cut = Cut.from_label(model.graph, load.cut)
    if set(cut.cloud_units) & set(PREPROCESSING_UNITS) or not cut.cloud_units:
        raise ValueError(
            f"{load.cut}: the cut must leave the network, or the end of it, to the cloud: after normalize, say"
        )
    return model, cut


async def measure(load: Load, work: Path, cloud_core: int | None, say: Say) -> Crowd:
    """Start a cloud and its edges, and run the rounds, each of which `say` is told.

    Raises `LinkLostError` when edges lose the cloud, `DaemonError` when the cloud or the bare executor ends.
    """
    model, cut = tail_of(load)
    tensors = {model.graph.source: as_frame(sample_frame())}
    if len(cut.edge_units) > 1:
        tensors = TorchExecutor("cpu", 1).compile(model.segment(cut.edge_units, cut.crossing)).run(tensors)
    entries, chunks = to_wire(model.graph, tensors)
    payload_bytes = sum(entry.nbytes for entry in entries)
    with bare_executor(load, work, cloud_core) as pipe:
        executor = await asyncio.to_thread(_received, pipe)
        say(f"{cut.label}: executor {executor}, one thread; {payload_bytes / 1e3:.0f} kB a frame, "
            f"{load.edges} edges, {load.in_flight} frames each")  # fmt: skip
        async with cloud_of(load, work, cloud_core) as cloud:
            await cloud.listening(READY_S)
            edges = [LightEdge(entries, chunks) for _ in range(load.edges)]
            try:
                for number, edge in enumerate(edges):
                    await edge.connect(*cloud.address)
                    await edge.ready(model, f"edge {number}", cut)
                await learn_batches(edges, cloud, load)
                for entry in cloud.logged("batches measured"):
                    say(f"the cloud's batches, ms by size: {entry['ms']}")
                rounds = await run_rounds(edges, pipe, load, say)
            finally:
                for edge in edges:
                    edge.channel.abort()
    return Crowd(executor, payload_bytes, tuple(rounds))


async def learn_batches(edges: Sequence[LightEdge], cloud: Cloud, load: Load) -> None:
    """Have the edges send until the cloud has measured batches: it learns those that frames have waited for."""
    for edge in edges:
        edge.begin(load.in_flight)
    await cloud.until("batches", lambda: cloud.logged("batches measured") or load.batch_max == 1, READY_S)
    await _end(edges)


async def run_rounds(edges: Sequence[LightEdge], pipe: Connection, load: Load, say: Say) -> list[Round]:
    say(HEADING)
    rounds: list[Round] = []
    for number in range(load.rounds):
        rounds.append(await one_round(edges, pipe, load, SETTLE_S if number else FIRST_SETTLE_S))
        say(line(rounds[-1]))
    return rounds


def cloud_of(load: Load, work: Path, core: int | None) -> Cloud:
    return Cloud(
        work, port=free_port(), prefix=() if core is None else ("taskset", "-c", str(core)),
        CLEAVE_MODEL=load.model, CLEAVE_WEIGHTS=load.weights, CLEAVE_CLOUD_THREADS=1,
        CLEAVE_CLOUD_DEVICE="cpu", CLEAVE_CLOUD_EXECUTOR=load.executor,
        CLEAVE_CLOUD_BATCH_MAX=load.batch_max, CLEAVE_CLOUD_BATCH_WAIT_MS=load.batch_wait_ms,
    )  # fmt: skip


@contextlib.contextmanager
def bare_executor(load: Load, work: Path, core: int | None) -> Iterator[Connection]:
    """Start the process that runs the tail alone; it says first which executor it has."""
    work.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    pipe, theirs = spawn.Pipe()
    arguments = (theirs, load.model, load.weights, load.cut, load.executor, work, core)
    process = spawn.Process(target=serve, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        yield pipe
    finally:
        pipe.close()
        process.join(5)


async def drive(
    edges: Sequence[LightEdge], seconds: float, settle_s: float, in_flight: int
) -> tuple[float, list[Counts]]:
    """Have all edges send for a while; return for how long was counted, and what each got meanwhile.

    Raises `LinkLostError` when one of them lost the cloud.
    """
    for edge in edges:
        edge.begin(in_flight)
    await asyncio.sleep(settle_s)
    for edge in edges:
        edge.counts = Counts()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    counted = [edge.counts for edge in edges]
    took_s = time.perf_counter() - began
    await _end(edges)
    if lost := [edge.lost for edge in edges if edge.lost is not None]:
        raise LinkLostError(
            f"{len(lost)} of {len(edges)} edges lost the cloud: {lost[0]}; its log says what it knows of that"
        )
    return took_s, counted


async def _end(edges: Sequence[LightEdge]) -> None:
    for edge in edges:
        edge.counts = Counts()
        edge.end()
    while not all(edge.idle for edge in edges):  # noqa: ASYNC110 (counts of many connections)
        await asyncio.sleep(0.01)


async def one_round(edges: Sequence[LightEdge], pipe: Connection, load: Load, settle_s: float) -> Round:
    """Drive the edges, then the bare loop. Raises `LinkLostError` also when no frame was answered."""
    took_s, counted = await drive(edges, load.seconds, settle_s, load.in_flight)
    frames = sum((counts.batches for counts in counted), Counter())
    busy, failed = (sum(counts.busy for counts in counted), sum(counts.failed for counts in counted))
    if not frames:
        raise LinkLostError(
            f"no frame was answered in {took_s:.1f} s: {busy} were told Busy, {failed} failed"
        )
    batches = {size: max(round(count / size), 1) for size, count in sorted(frames.items())}
    bare_frames, bare_s = await asyncio.to_thread(_bare, pipe, batches, load.seconds / 2)
    return Round(
        fps=sum(counts.answers for counts in counted) / took_s,
        bare_fps=bare_frames / bare_s,
        answers=tuple(counts.answers for counts in counted),
        batches=batches,
        latency_ms=statistics.median(s for counts in counted for s in counts.latencies_s) * 1e3,
        others_ms=statistics.median(ms for counts in counted for ms in counts.others_ms),
        busy=busy,
        failed=failed,
    )


def _bare(pipe: Connection, batches: dict[int, int], seconds: float) -> Any:
    pipe.send((batches, seconds))
    return _received(pipe)


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise DaemonError("the process that runs the executor alone ended; it says above why") from None


def line(one: Round) -> str:
    """Show a round under `HEADING`."""
    edges = f"{min(one.answers)} {statistics.fmean(one.answers):.1f} {max(one.answers)} {one.slowest:.2f}"
    waits = f"{one.latency_ms:.0f} {one.others_ms:.0f}"
    return (
        f"{one.fps:8.1f} {one.bare_fps:8.1f} {one.of_alone:7.2f}   {edges:>48}   {waits:>27}   "
        f"{one.busy}/{one.failed}           {dict(one.batches)}"
    )


def row_of(load: Load, crowd: Crowd) -> ManyRow:
    """Make a row of a load's rounds."""
    frames: Counter[int] = Counter()
    for one in crowd.rounds:
        frames.update({size: size * count for size, count in one.batches.items()})
    often = [size for size, count in frames.items() if count >= OFTEN * frames.total()]
    return ManyRow(
        model=load.model,
        cut=load.cut,
        executor=crowd.executor,
        edges=load.edges,
        payload_bytes=crowd.payload_bytes,
        batches=tuple(sorted(often)),
        fps=tuple(one.fps for one in crowd.rounds),
        alone_fps=tuple(one.bare_fps for one in crowd.rounds),
        slowest=tuple(one.slowest for one in crowd.rounds),
        busy=sum(one.busy for one in crowd.rounds),
        failed=sum(one.failed for one in crowd.rounds),
    )
