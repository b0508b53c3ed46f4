"""The benchmark's sections: each measures what its rows are still missing, model by model."""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks import (
    bench_adaptation,
    bench_codecs,
    bench_many,
    bench_overhead,
    bench_regret,
    bench_throughput,
    cuda_tails,
    executors,
    rpc_comparison,
)
from benchmarks.bench_bars import (
    ADAPTATION_MODELS,
    CUDA_MODELS,
    MANY_CUTS,
    ROUNDS,
    THROUGHPUT_MODELS,
    WALK_BPS,
)
from benchmarks.bench_link import bench_link, core_prefixes
from benchmarks.bench_part_rows import CodecRow, CudaRow, ExecutorRow, ManyRow, OverheadRow, RpcRow
from benchmarks.bench_rows import MODELS, RATES_BPS, AdaptationRow, RegretRow, Spread, ThroughputRow
from benchmarks.bench_run import Run
from benchmarks.bench_store import RowFile, Settings
from benchmarks.bench_worker import WorkerError
from benchmarks.kernel_link import why_not
from benchmarks.pair import DaemonError
from common.errors import LinkLostError
from models.device import make_executor
from models.executor import TorchExecutor

FIRST_RATE_BPS = 100e6


class SectionError(RuntimeError):
    """Some of a section's models could not be measured; the message says which, and why."""


async def each(models: Sequence[str], measure: Callable[[str], Awaitable[None]]) -> None:
    """Measure model by model; one that fails does not keep the others from being measured."""
    failed = []
    for model in models:
        try:
            await measure(model)
        except (DaemonError, WorkerError, LinkLostError) as error:
            failed.append(f"{model}: {error}")
    if failed:
        raise SectionError("\n".join(failed))


async def regret(run: Run) -> None:
    effort = bench_regret.Effort()
    if run.rounds is not None:
        effort = replace(effort, rounds=run.rounds)
    rates_bps = run.rates_bps or RATES_BPS
    async with bench_link(FIRST_RATE_BPS, run.cores) as link:

        async def measure(model: str) -> None:
            bed = run.bed(model, link)
            settings = effort.settings(bed.pair, link)
            rows = run.rows("regret", model, RegretRow, settings, lambda row: row.rate_bps not in rates_bps)
            section = bench_regret.Regret(bed, effort, run.teller("regret", model))
            await section.run(rates_bps, rows)

        await each(run.models or MODELS, measure)


async def throughput(run: Run) -> None:
    effort = bench_throughput.Effort()
    if run.rounds is not None:
        effort = replace(effort, rounds=run.rounds)
    rates_bps = run.rates_bps or bench_throughput.RATES_BPS
    async with bench_link(FIRST_RATE_BPS, run.cores) as link:

        async def measure(model: str) -> None:
            bed = run.bed(model, link)
            settings = effort.settings(bed.pair, link)
            rows = run.rows(
                "throughput", model, ThroughputRow, settings, lambda row: row.rate_bps not in rates_bps
            )
            section = bench_throughput.Throughput(bed, effort, run.teller("throughput", model))
            await section.run(rates_bps, rows)

        await each(run.models or THROUGHPUT_MODELS, measure)


async def overhead(run: Run) -> None:
    effort = bench_overhead.Effort()
    if run.rounds is not None:
        effort = replace(effort, rounds=run.rounds)
    rows = run.rows("overhead", "loopback", OverheadRow, asdict(effort))
    if rows.rows:
        return
    work = run.out / "daemons" / "overhead"
    section = bench_overhead.Overhead(work, run.cores, effort, run.teller("overhead", "loopback"))
    for row in await section.run():
        rows.add(row)


async def adaptation(run: Run) -> None:
    effort = bench_adaptation.Effort()
    async with bench_link(FIRST_RATE_BPS, run.cores) as link:

        async def measure(model: str) -> None:
            bed = run.bed(model, link)
            rows = run.rows("adaptation", model, AdaptationRow, effort.settings(bed.pair, link))
            section = bench_adaptation.Adaptation(bed, effort, run.teller("adaptation", model))
            await section.run(WALK_BPS, rows)

        await each(run.models or ADAPTATION_MODELS, measure)


async def measure_executors(run: Run) -> None:
    rounds = max(run.rounds or ROUNDS["executors"], 2)  # quartiles need two
    directory = run.out / "networks"
    directory.mkdir(parents=True, exist_ok=True)
    for model in run.models or MODELS:
        settings: Settings = {"weights": run.weights, "rounds": rounds, "threads": 1}
        rows = run.rows("executors", model, ExecutorRow, settings)
        if rows.rows:
            continue
        run.teller("executors", model)("exported and measured")
        found = executors.measure(executors.ways(model, run.weights, 1, directory), rounds)
        spreads = {way: Spread(f["ms"], f["low_ms"], f["high_ms"]) for way, f in found.items()}
        apart = max(f["difference"] for f in found.values())
        rows.add(ExecutorRow(model=model, difference=apart, **spreads))


async def codecs(run: Run) -> None:
    settings: Settings = {"slowdown": run.slowdown, "rate_bps": bench_codecs.RATE_BPS}
    rows = run.rows("codecs", "digits", CodecRow, settings)
    if rows.rows:
        return
    run.teller("codecs", "digits")("a network is trained, and its tensors are encoded")
    for row in bench_codecs.measure(run.slowdown):
        rows.add(row)


def plain(chosen: Mapping[str, Any]) -> Settings:
    """Return settings as a file of rows can hold them: a list would not be read back."""
    return {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in chosen.items()
    }


async def compare_rpc(run: Run) -> None:
    say = run.teller("rpc", "resnet18")
    if reason := why_not():
        say(f"not measured: {reason}")
        return
    chosen: dict[str, Any] = {
        "model": "resnet18",
        "weights": run.weights,
        "slowdown": 4.0,
        "links": ["kernel", "emulated"],
        "rates": [20e6, 100e6],
        "delay_ms": 5.0,
        "rounds": run.rounds or ROUNDS["rpc"],
        "runs": 6,
        "cuts": "cloud-only;after maxpool;after add_3;after add_6",
    }
    rows = run.rows("rpc", chosen["model"], RpcRow, plain(chosen))
    if rows.rows:
        return
    say("both channels take turns")
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, run.cores)  # its processes are pinned to nothing, neither ours nor RPC's
    try:
        found = await rpc_comparison.run(argparse.Namespace(**chosen, out=run.out / "rpc-daemons"))
    finally:
        os.sched_setaffinity(0, pinned)
    for row in found:
        ours, theirs = row["ours"], row["rpc"]
        rows.add(
            RpcRow(
                model=chosen["model"],
                link=f"{row['link']}, {row['rate']}",
                cut=row["cut"],
                ours_ms=ours["latency_ms"],
                rpc_ms=theirs["latency_ms"],
                ours_fps=ours["fps"],
                rpc_fps=theirs["fps"],
            )
        )


async def many(run: Run) -> None:
    executor = "onnxruntime" if run.executor == "auto" else run.executor  # that of the bare loop, too
    cloud_core = min(run.cores) if all(core_prefixes(run.cores)) else None

    async def measure(model: str) -> None:
        say = run.teller("many", model)
        load = bench_many.Load(model=model, cut="", weights=run.weights, executor=executor)
        if run.rounds is not None:
            load = replace(load, rounds=run.rounds)
        settings: Settings = {name: value for name, value in asdict(load).items() if name != "cut"}
        rows = run.rows("many", model, ManyRow, settings)
        cuts = [cut for name, cut in MANY_CUTS if name == model]
        if not cuts:
            say("not measured: no bar is about a cut of it")
        for load in [replace(load, cut=cut) for cut in cuts if cut not in rows]:
            found = await bench_many.measure(load, run.out / "daemons" / "many", cloud_core, say)
            rows.add(bench_many.row_of(load, found))

    await each(run.models or tuple(dict.fromkeys(name for name, _ in MANY_CUTS)), measure)


async def cuda(run: Run) -> None:
    models = run.models or CUDA_MODELS
    if not torch.cuda.is_available():
        run.teller("cuda", ", ".join(models))(cuda_tails.NOT_AT_HAND)
        return
    rounds = max(run.rounds or ROUNDS["cuda"], 2)
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(
        0, run.cores
    )  # the event loop and the thread that waits for the GPU have a core each
    try:
        for model in models:
            rows = run.rows("cuda", model, CudaRow, {"weights": run.weights, "rounds": rounds})
            await cuda_model(model, rows, make_executor("cuda"), rounds, run)
    finally:
        os.sched_setaffinity(0, pinned)


async def cuda_model(
    model: str,
    rows: RowFile[CudaRow],
    executor: TorchExecutor,
    rounds: int,
    run: Run,
    batches: Sequence[int] = cuda_tails.BATCHES,
) -> None:
    """Measure the batches of one model that there are no rows of."""
    missing = [batch for batch in batches if str(batch) not in rows]
    if not missing:
        return
    tails = cuda_tails.Tails(model, run.weights, executor, max(batches))
    try:
        await tails.learn()
        for batch in missing:
            run.teller("cuda", model)(f"{batch} frames")
            rows.add(await tails.measure(batch, rounds))
    finally:
        tails.close()


SECTIONS: Mapping[str, Callable[[Run], Coroutine[Any, Any, None]]] = {
    "regret": regret,
    "throughput": throughput,
    "overhead": overhead,
    "adaptation": adaptation,
    "executors": measure_executors,
    "codecs": codecs,
    "rpc": compare_rpc,
    "many": many,
    "cuda": cuda,
}
