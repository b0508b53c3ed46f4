"""Our channel against `torch.distributed.rpc` at equal cuts, on a link shaped by the kernel.

    python -m benchmarks.rpc_comparison --model resnet18 --weights random:0 --rates 20mbit,100mbit

Both run the same segments in two processes, one thread each, the edge paced; only the channel differs. TensorPipe
chooses its own ports, so it cannot go through the emulated link; the kernel's link carries both. (ParetoPipe
compared its two backends on different topologies.) Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.frames import make_frames
from benchmarks.kernel_link import CLOUD_HOST, KernelLink, kernel_link
from benchmarks.pair import Cloud, Edge
from benchmarks.rpc_worker import FILL, WARM
from common.quantities import format_bandwidth, parse_bandwidth

PORT, RPC_PORT = 7400, 29500
Figures = dict[str, dict[str, float]]


def rpc_figures(link: KernelLink, options: argparse.Namespace, frames: Path, cuts: list[str]) -> Figures:
    """Measure the cuts through RPC."""
    module = [sys.executable, "-m", "benchmarks.rpc_worker"]
    common = [f"{CLOUD_HOST}:{RPC_PORT}"]
    cloud = subprocess.Popen(
        [*link.cloud_prefix, *module, "cloud", *common, link.cloud_device, options.model, options.weights]
    )
    edge = [*link.edge_prefix, *module, "edge", *common, link.edge_device, options.model, options.weights]
    edge += [str(options.slowdown), str(frames), str(options.runs), *cuts]
    try:
        done = subprocess.run(edge, capture_output=True, text=True, check=False, timeout=1200)
        if done.returncode:
            raise RuntimeError(f"RPC failed: {done.stderr[-2000:]}")
        cloud.wait(timeout=30)
    finally:
        cloud.kill()
        cloud.wait()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["cut"]: {"latency_ms": line["latency_ms"], "fps": line["fps"]} for line in found}


async def our_figures(
    link: KernelLink, options: argparse.Namespace, frames: list[Path], cuts: list[str], work: Path
) -> Figures:
    """Measure the cuts through both daemons."""
    same: dict[str, Any] = {"CLEAVE_MODEL": options.model, "CLEAVE_WEIGHTS": options.weights}
    cloud = Cloud(
        work, host=CLOUD_HOST, port=PORT, prefix=link.cloud_prefix, CLEAVE_CLOUD_THREADS=1,
        CLEAVE_CLOUD_DEVICE="cpu", **same,
    )  # fmt: skip
    found: Figures = {}
    async with cloud:
        await cloud.listening()
        for name, in_flight in (("one", 1), ("many", 4)):
            plan = work / f"{name}.plan"
            plan.write_text("edge-only")
            edge = Edge(
                work, name=name, cloud=cloud.address, prefix=link.edge_prefix, CLEAVE_EDGE_THREADS=1,
                CLEAVE_EDGE_DEVICE="cpu", CLEAVE_EDGE_SLOWDOWN=options.slowdown, CLEAVE_EDGE_PLAN=f"@{plan}",
                CLEAVE_EDGE_REPLAN_INTERVAL_S=0.2, CLEAVE_EDGE_IN_FLIGHT=in_flight, **same,
            )  # fmt: skip
            async with edge:
                for cut in cuts:
                    records = await _run(edge, plan, cut, frames, options.runs + max(WARM, FILL))
                    figures = found.setdefault(cut, {})
                    if in_flight == 1:
                        figures["latency_ms"] = statistics.median(r["ms"]["total"] for r in records[WARM:])
                    else:
                        ended = sorted(
                            datetime.fromisoformat(r["answered_at"]).timestamp() for r in records[FILL - 1 :]
                        )
                        figures["fps"] = (len(ended) - 1) / (ended[-1] - ended[0])
    return found


async def _run(edge: Edge, plan: Path, cut: str, frames: list[Path], count: int) -> list[dict[str, Any]]:
    await asyncio.to_thread(plan.write_text, cut)
    await edge.until(f"plan {cut}", lambda: edge.cut == cut, 60)
    before = len(edge.records())
    copies = []
    for number in range(count):
        copy = plan.with_name(f"{plan.stem}-{before + number:06d}.jpg")
        shutil.copy2(frames[number % len(frames)], copy)
        copies.append(copy)
    edge.offer(copies)
    await edge.answered(before + count, 600)
    return edge.records()[before:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--slowdown", type=float, default=4.0)
    parser.add_argument("--rates", default="20mbit,100mbit")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--cuts", default="cloud-only;after maxpool;after add_3;after add_6", help="by ;")
    parser.add_argument("--out", type=Path, default=Path("var/rpc"))
    options = parser.parse_args()
    out = options.out.absolute()
    frames = make_frames(out / "frames", 8)
    cuts = options.cuts.split(";")
    rows = []
    print(
        f"{'link':>12} {'cut':24} {'ours ms':>9} {'RPC ms':>9} {'RPC/ours':>9} {'ours fps':>9} {'RPC fps':>9}"
    )
    for rate_bps in (parse_bandwidth(text) for text in options.rates.split(",")):
        work = out / "daemons"
        shutil.rmtree(work, ignore_errors=True)
        with kernel_link(rate_bps) as link:
            ours = asyncio.run(our_figures(link, options, frames, cuts, work))
            theirs = rpc_figures(link, options, out / "frames", cuts)
        for cut in cuts:
            a, b = ours[cut], theirs[cut]
            rows.append({"rate_bps": rate_bps, "cut": cut, "ours": a, "rpc": b})
            print(
                f"{format_bandwidth(rate_bps):>12} {cut:24} {a['latency_ms']:9.1f} {b['latency_ms']:9.1f} "
                f"{b['latency_ms'] / a['latency_ms']:9.2f} {a['fps']:9.2f} {b['fps']:9.2f}",
                flush=True,
            )
    (out / f"{options.model}.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
