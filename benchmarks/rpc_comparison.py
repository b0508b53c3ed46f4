"""Our channel against `torch.distributed.rpc` at equal cuts, on a link shaped by the kernel and on one with a delay.

    python -m benchmarks.rpc_comparison --model resnet18 --weights random:0 --rates 20mbit,100mbit --delay-ms 5

Both run the same segments in two processes, one thread each, the edge paced; only the channel differs. They take
turns, cut by cut and round by round, so that a machine whose speed wanders treats both alike. (ParetoPipe compared
its two backends on different topologies.) Needs root.

Both links join two network namespaces below TCP (`kernel_link`, `tun_link`), since TensorPipe opens connections to
ports of its own choosing, past any proxy. A run in which frames were answered faster than their tensors can cross
the link, by either channel, raises: they went another way.
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
from benchmarks.kernel_link import kernel_link
from benchmarks.network_namespaces import CLOUD_HOST, NamespaceLink
from benchmarks.pair import Cloud, Edge, free_port
from benchmarks.rpc_worker import FILL, IN_FLIGHT, WARM
from benchmarks.tun_link import tun_link
from common.quantities import format_bandwidth, parse_bandwidth

LINKS = ("kernel", "emulated")
HEADING = (
    f"{'link':9} {'rate':12} {'cut':20} {'ours ms':>9} {'RPC ms':>9} {'RPC/ours':>9} "
    f"{'ours fps':>9} {'RPC fps':>9}"
)


@dataclass(slots=True)
class Figures:
    """One channel's figures at one cut: closed-loop times of all rounds, and each round's saturated rate.

    bytes_up: what crossed the link for each of the closed-loop frames.
    """

    latencies_ms: list[float] = field(default_factory=list)
    bytes_up: list[int] = field(default_factory=list)
    fps: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        times = sorted(self.latencies_ms)
        return {
            "latency_ms": statistics.median(times),
            "least_ms": times[0],
            "most_ms": times[-1],
            "fps": statistics.median(self.fps),
        }


class PastTheLinkError(RuntimeError):
    """A frame was answered faster than its crossing tensors can have passed the link."""


def least_ms(link: NamespaceLink, rate_bps: float, n_bytes: int) -> float:
    """Return the least time in which so many bytes can be sent over a link and answered; 0 for none."""
    if not n_bytes:
        return 0.0
    return max(0, n_bytes - link.burst_bytes(rate_bps)) * 8e3 / rate_bps + 2 * link.delay_ms


def check_plausible(figures: Figures, link: NamespaceLink, rate_bps: float, what: str) -> None:
    """Raise `PastTheLinkError` if a frame was answered before its bytes can have crossed the link."""
    for latency_ms, n_bytes in zip(figures.latencies_ms, figures.bytes_up, strict=True):
        if latency_ms < (least := least_ms(link, rate_bps, n_bytes)):
            raise PastTheLinkError(
                f"{what}: answered after {latency_ms:.2f} ms, but its {n_bytes:,} bytes need {least:.2f} ms "
                "on the link; they went another way"
            )


class Ours:
    """A cut through both daemons: one edge with one frame in flight, one with several."""

    def __init__(
        self, link: NamespaceLink, options: argparse.Namespace, frames: list[Path], work: Path
    ) -> None:
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
        into.bytes_up += [record["bytes_up"] for record in one[WARM:]]
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

    def __init__(self, link: NamespaceLink, options: argparse.Namespace, frames: Path) -> None:
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
        into.bytes_up += found["bytes_up"]
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
    kind: str,
    link: NamespaceLink,
    rate_bps: float,
    options: argparse.Namespace,
    frames: list[Path],
    work: Path,
) -> list[dict[str, Any]]:
    """Measure every cut through both channels in turn; return a row for each.

    Raises `PastTheLinkError` if tensors went another way than over the link.
    """
    cuts = options.cuts.split(";")
    figures = {cut: (Figures(), Figures()) for cut in cuts}
    ours, theirs = Ours(link, options, frames, work), Rpc(link, options, frames[0].parent)
    async with ours.running(), theirs.running():
        for _ in range(options.rounds):
            for cut in cuts:
                a, b = figures[cut]
                await ours.measure(cut, a)
                check_plausible(a, link, rate_bps, f"our channel, {cut}")
                await theirs.measure(cut, b)
                check_plausible(b, link, rate_bps, f"RPC, {cut}")
    setting = {"link": kind, "rate": format_bandwidth(rate_bps), "delay_ms": link.delay_ms}
    rows: list[dict[str, Any]] = [
        {**setting, "cut": cut, "ours": a.summary(), "rpc": b.summary()} for cut, (a, b) in figures.items()
    ]
    for row in rows:
        print(describe(row), flush=True)
    return rows


def describe(row: dict[str, Any]) -> str:
    """Show a row as a line under `HEADING`."""
    a, b = row["ours"], row["rpc"]
    return (
        f"{row['link']:9} {row['rate']:12} {row['cut']:20} {a['latency_ms']:9.1f} {b['latency_ms']:9.1f} "
        f"{b['latency_ms'] / a['latency_ms']:9.2f} {a['fps']:9.2f} {b['fps']:9.2f}"
    )


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare at each rate of each link; show the rows, write those that there are after each, return them."""
    out = options.out.absolute()
    frames = make_frames(out / "frames", 8)
    rows: list[dict[str, Any]] = []
    print(HEADING)
    for kind in options.links:
        for rate_bps in options.rates:
            work = out / "daemons"
            shutil.rmtree(work, ignore_errors=True)
            made = kernel_link(rate_bps) if kind == "kernel" else tun_link(rate_bps, options.delay_ms)
            with made as link:
                rows += await compare(kind, link, rate_bps, options, frames, work)
            (out / f"{options.model}.json").write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def parse_links(text: str) -> list[str]:
    """Read kinds of link, by commas. Raises `ArgumentTypeError` for one that there is not."""
    kinds = [kind.strip() for kind in text.split(",")]
    if odd := [kind for kind in kinds if kind not in LINKS]:
        raise argparse.ArgumentTypeError(f"no such link: {odd[0]!r}; there are {' and '.join(LINKS)}")
    return kinds


def parse_rates(text: str) -> list[float]:
    """Read bandwidths, by commas. Raises `ArgumentTypeError` for what is none."""
    try:
        return [parse_bandwidth(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--slowdown", type=float, default=4.0)
    parser.add_argument("--links", type=parse_links, default=LINKS, help=f"by commas ({','.join(LINKS)})")
    parser.add_argument("--rates", type=parse_rates, default="20mbit,100mbit", help="by commas")
    parser.add_argument("--delay-ms", type=float, default=5.0, help="of the emulated link, one way (5)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=6, help="frames counted at a cut in a round (6)")
    parser.add_argument("--cuts", default="cloud-only;after maxpool;after add_3;after add_6", help="by ;")
    parser.add_argument("--out", type=Path, default=Path("var/rpc"))
    options = parser.parse_args()
    asyncio.run(run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
