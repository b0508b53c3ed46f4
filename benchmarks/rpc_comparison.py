"""Our channel against `torch.distributed.rpc` at equal cuts, on a link shaped by the kernel.

    python -m benchmarks.rpc_comparison --model resnet18 --weights random:0 --rates 20mbit,100mbit

Both run the same segments in two processes, one thread each, the edge paced; only the channel differs. They take
turns, cut by cut and round by round, so that a machine whose speed wanders treats both alike. (ParetoPipe compared
its two backends on different topologies.) Needs root.

There is no such run on the emulated link: TensorPipe listens on a port of its own choosing, tells it through the
rendezvous and once more in its handshake, and opens a second connection for tensors by that. A store that named the
link's end instead was tried: the first connection went through the link, the tensors past it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.frames import make_frames
from benchmarks.kernel_link import KernelLink, kernel_link
from benchmarks.network_namespaces import CLOUD_HOST
from benchmarks.pair import Cloud, Edge, free_port
from benchmarks.rpc_worker import FILL, IN_FLIGHT, WARM
from common.quantities import format_bandwidth, parse_bandwidth

HEADING = (
    f"{'link':12} {'cut':20} {'ours ms':>9} {'RPC ms':>9} {'RPC/ours':>9} {'ours fps':>9} {'RPC fps':>9}"
)


@dataclass(slots=True)
class Figures:
    """One channel's figures at one cut: closed-loop times of all rounds, and each round's saturated rate."""

    latencies_ms: list[float] = field(default_factory=list)
    fps: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        times = sorted(self.latencies_ms)
        return {
            "latency_ms": statistics.median(times),
            "least_ms": times[0],
            "most_ms": times[-1],
            "fps": statistics.median(self.fps),
        }


class Ours:
    """A cut through both daemons: one edge with one frame in flight, one with several."""

    def __init__(self, link: KernelLink, options: argparse.Namespace, frames: list[Path], work: Path) -> None:
        self._link, self._options, self._frames, self._work = link, options, frames, work
        self._port = free_port()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        same: dict[str, Any] = {"CLEAVE_MODEL": self._options.model, "CLEAVE_WEIGHTS": self._options.weights}
        cloud = Cloud(
            self._work, host=CLOUD_HOST, port=self._port, prefix=self._link.cloud_prefix,
            CLEAVE_CLOUD_THREADS=1, CLEAVE_CLOUD_EXECUTOR="torch", CLEAVE_CLOUD_DEVICE="cpu", **same,
        )  # fmt: skip
        async with cloud:
            await cloud.listening()
            self._one, self._many = (
                Edge(
                    self._work, name=name, cloud=cloud.address, prefix=self._link.edge_prefix,
                    CLEAVE_EDGE_THREADS=1, CLEAVE_EDGE_EXECUTOR="torch", CLEAVE_EDGE_DEVICE="cpu",
                    CLEAVE_EDGE_IN_FLIGHT=in_flight,
                    CLEAVE_EDGE_SLOWDOWN=self._options.slowdown, CLEAVE_EDGE_REPLAN_INTERVAL_S=0.2,
                    CLEAVE_EDGE_PLAN=f"@{self._plan_file(name)}", **same,
                )
                for name, in_flight in (("one", 1), ("many", IN_FLIGHT))
            )  # fmt: skip
            async with self._one, self._many:
                yield

    def _plan_file(self, name: str) -> Path:
        path = self._work / f"{name}.plan"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("edge-only")
        return path

    async def measure(self, cut: str, into: Figures) -> None:
        one = await self._run("one", self._one, cut, WARM + self._options.runs)
        into.latencies_ms += [record["ms"]["total"] for record in one[WARM:]]
        many = await self._run("many", self._many, cut, FILL + self._options.runs)
        ended = sorted(datetime.fromisoformat(r["answered_at"]).timestamp() for r in many[FILL - 1 :])
        into.fps.append((len(ended) - 1) / (ended[-1] - ended[0]))

    async def _run(self, name: str, edge: Edge, cut: str, count: int) -> list[dict[str, Any]]:
        (self._work / f"{name}.plan").write_text(cut)
        await edge.until(f"plan {cut}", lambda: edge.cut == cut, 60)
        before = len(edge.records())
        copies = []
        for number in range(count):
            copy = self._work / f"{name}-{before + number:06d}.jpg"
            shutil.copy2(self._frames[number % len(self._frames)], copy)
            copies.append(copy)
        edge.offer(copies)
        await edge.answered(before + count, 600)
        records = edge.records()[before:]
        if odd := [record for record in records if record["error"] or "fallback" in record]:
            raise RuntimeError(f"{cut}: {len(odd)} frames failed or were finished on the edge: {odd[0]}")
        return records


class Rpc:
    """A cut through RPC: `benchmarks.rpc_worker` at both ends."""

    def __init__(self, link: KernelLink, options: argparse.Namespace, frames: Path) -> None:
        self._link, self._options, self._frames = link, options, frames
        self._port = free_port()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        link, options = self._link, self._options
        worker = [sys.executable, "-m", "benchmarks.rpc_worker"]
        model = [options.model, options.weights]
        address = f"{CLOUD_HOST}:{self._port}"
        pipe = asyncio.subprocess.PIPE
        cloud = await asyncio.create_subprocess_exec(
            *link.cloud_prefix, *worker, "cloud", address, link.cloud_device, *model
        )
        self._edge = await asyncio.create_subprocess_exec(
            *link.edge_prefix, *worker, "edge", address, link.edge_device, *model, str(options.slowdown),
            str(self._frames), str(options.runs), stdin=pipe, stdout=pipe,
        )  # fmt: skip
        try:
            yield
            assert self._edge.stdin is not None
            self._edge.stdin.close()
            await asyncio.wait_for(asyncio.gather(self._edge.wait(), cloud.wait()), 30)
        finally:
            for process in (self._edge, cloud):
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def measure(self, cut: str, into: Figures) -> None:
        await self._ask(cut)
        found = await self._answer()
        into.latencies_ms += found["latencies_ms"]
        into.fps.append(found["fps"])

    async def _ask(self, line: str) -> None:
        assert self._edge.stdin is not None
        self._edge.stdin.write(f"{line}\n".encode())
        await self._edge.stdin.drain()

    async def _answer(self) -> dict[str, Any]:
        assert self._edge.stdout is not None
        line = await asyncio.wait_for(self._edge.stdout.readline(), 600)
        if not line:
            raise RuntimeError("RPC's edge ended; what it said is above")
        found: dict[str, Any] = json.loads(line)
        return found


async def compare(
    link: KernelLink, rate: str, options: argparse.Namespace, frames: list[Path], work: Path
) -> list[dict[str, Any]]:
    """Measure every cut through both channels in turn; return a row for each."""
    cuts = options.cuts.split(";")
    figures = {cut: (Figures(), Figures()) for cut in cuts}
    ours, theirs = Ours(link, options, frames, work), Rpc(link, options, frames[0].parent)
    async with ours.running(), theirs.running():
        for _ in range(options.rounds):
            for cut in cuts:
                await ours.measure(cut, figures[cut][0])
                await theirs.measure(cut, figures[cut][1])
    rows = [
        {"link": rate, "cut": cut, "ours": a.summary(), "rpc": b.summary()} for cut, (a, b) in figures.items()
    ]
    for row in rows:
        a, b = row["ours"], row["rpc"]
        print(
            f"{row['link']:12} {row['cut']:20} {a['latency_ms']:9.1f} {b['latency_ms']:9.1f} "
            f"{b['latency_ms'] / a['latency_ms']:9.2f} {a['fps']:9.2f} {b['fps']:9.2f}",
            flush=True,
        )
    return rows


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    out = options.out.absolute()
    frames = make_frames(out / "frames", 8)
    rows: list[dict[str, Any]] = []
    print(HEADING)
    for rate_bps in (parse_bandwidth(text) for text in options.rates.split(",")):
        work = out / "daemons"
        shutil.rmtree(work, ignore_errors=True)
        with kernel_link(rate_bps) as link:
            rows += await compare(link, format_bandwidth(rate_bps), options, frames, work)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--slowdown", type=float, default=4.0)
    parser.add_argument("--rates", default="20mbit,100mbit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=6, help="frames counted at a cut in a round (6)")
    parser.add_argument("--cuts", default="cloud-only;after maxpool;after add_3;after add_6", help="by ;")
    parser.add_argument("--out", type=Path, default=Path("var/rpc"))
    options = parser.parse_args()
    rows = asyncio.run(run(options))
    path = options.out / f"{options.model}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
