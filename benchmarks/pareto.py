"""ParetoPipe's experiment: every cut of the frontier, run for real through both daemons, on a grid of links.

Latency is measured closed-loop (one frame in flight), throughput saturated, apart from each other, each from
warm runs; durations are of one clock. (The paper mixes queueing into latency and two clocks into durations;
see planning.md §6.) Source: ParetoPipe, arXiv 2601.08025.

    cleave-edge pareto --model resnet18 --weights random:0 --rates 20mbit,100mbit --delays-ms 1,20 --out var/pareto

Each visit of a cut is a line of OUT/MODEL/visits.csv as soon as it is measured; a run that is started again goes
on from there. The points, in points.csv, are made of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from benchmarks.frames import make_frames
from benchmarks.pair import Cloud, DaemonError, Edge, free_port
from benchmarks.pareto_points import Point, write_points
from benchmarks.pareto_report import write_pictures, write_summary
from benchmarks.pareto_visits import Place, Visit, VisitFile, points_of, schedule
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.decide import Costs
from common.partition.frontier import Frontier
from common.plan import Cut
from common.profile import Profile
from common.quantities import format_bandwidth, parse_bandwidth
from models.zoo import load_model

LINK_HOST = "127.0.0.2"
REPLAN_INTERVAL_S = 0.2
"""A pinned edge reads its plan file this often; it measures nothing."""
WARM, LATENCY_FRAMES = 1, 3
FILL, THROUGHPUT_FRAMES = 3, 6
"""Frames that warm a cut up and fill the pipeline are not counted."""
TRIES = 2
"""A visit during which a frame fell back to the edge is measured again this often."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to run. Rates are in bit/s, delays one way in ms."""

    model: str
    weights: str
    executor: str
    slowdown: float
    rates_bps: tuple[float, ...]
    delays_ms: tuple[float, ...]
    rounds: int
    out: Path

    def is_another_than_before(self) -> str | None:
        """Return why this cannot go on where the run in its directory stopped; none if it can, or is the first."""
        path = self.out / "experiment.json"
        mine = {"weights": self.weights, "executor": self.executor, "slowdown": self.slowdown}
        if not path.exists():
            path.write_text(json.dumps(mine) + "\n")
            return None
        found = json.loads(path.read_text())
        if found == mine:
            return None
        return f"{self.out} holds a run of {found}, this one is of {mine}; give another --out, or remove it"

    @property
    def links(self) -> list[tuple[float, float]]:
        return list(itertools.product(self.rates_bps, self.delays_ms))


class Bench:
    """The running daemons: one cloud, and two edges that differ in the frames they have in flight."""

    def __init__(self, experiment: Experiment, frames: Sequence[Path]) -> None:
        self._experiment = experiment
        self._frames = itertools.cycle(frames)
        self._first = frames[0]
        self._numbers = itertools.count()
        self._work = experiment.out / "daemons"
        self._port, self._iperf_port = free_port(), free_port()
        self._plans = {name: self._work / f"{name}.plan" for name in ("latency", "throughput")}

    def link(self) -> EmulatedLink:
        ports = (self._port, self._iperf_port)
        forwards = [Forward(listen=(LINK_HOST, port), target=("127.0.0.1", port)) for port in ports]
        return EmulatedLink(forwards, LinkShape(rate_bps=None))

    def cloud(self) -> Cloud:
        return Cloud(
            self._work,
            port=self._port,
            CLEAVE_MODEL=self._experiment.model,
            CLEAVE_WEIGHTS=self._experiment.weights,
            CLEAVE_CLOUD_IPERF_PORT=self._iperf_port,
            CLEAVE_CLOUD_THREADS=1,
            CLEAVE_CLOUD_EXECUTOR=self._experiment.executor,
            CLEAVE_CLOUD_DEVICE="cpu",
        )

    def edge(self, name: str, **settings: Any) -> Edge:
        common: dict[str, Any] = {
            "CLEAVE_MODEL": self._experiment.model,
            "CLEAVE_WEIGHTS": self._experiment.weights,
            "CLEAVE_EDGE_SLOWDOWN": self._experiment.slowdown,
            "CLEAVE_EDGE_THREADS": 1,
            "CLEAVE_EDGE_EXECUTOR": self._experiment.executor,
            "CLEAVE_EDGE_DEVICE": "cpu",
            "CLEAVE_EDGE_REPLAN_INTERVAL_S": REPLAN_INTERVAL_S,
        }
        return Edge(self._work, name=name, cloud=(LINK_HOST, self._port), **{**common, **settings})

    def pinned(self, name: str, in_flight: int) -> Edge:
        """An edge whose plan is what its plan file says."""
        self._plans[name].parent.mkdir(parents=True, exist_ok=True)
        self._plans[name].write_text("edge-only")
        return self.edge(name, CLEAVE_EDGE_PLAN=f"@{self._plans[name]}", CLEAVE_EDGE_IN_FLIGHT=in_flight)

    async def profiles(self) -> tuple[Profile, Profile]:
        """Have the daemons measure their profiles, or read those of an earlier run."""
        out = self._experiment.out
        paths = (out / "edge-profile.json", out / "cloud-profile.json")
        if not all(path.exists() for path in paths):
            async with self.edge("profiling") as edge:
                edge.offer([self._first])
                await edge.planned(timeout_s=300)
                found = [
                    next(edge.state.glob("profile-*.json")),
                    next((self._work / "cloud").glob("profile-*.json")),
                ]
            for path, source in zip(paths, found, strict=True):
                shutil.copyfile(source, path)
        edge_profile, cloud_profile = (Profile.from_json(path.read_bytes()) for path in paths)
        return edge_profile, cloud_profile

    async def run(self, name: str, edge: Edge, label: str, frames: int) -> list[dict[str, Any]]:
        """Run `frames` frames under the cut `label` and return their records, in the order of answering."""
        self._plans[name].write_text(label)
        await edge.until(f"plan {label}", lambda: edge.cut == label, timeout_s=60)
        offered = []
        for frame in itertools.islice(self._frames, frames):
            path = self._work / f"{name}-{next(self._numbers):06d}.jpg"
            shutil.copy2(frame, path)
            offered.append(path)
        before = len(edge.records())
        edge.offer(offered)
        await edge.answered(before + frames, timeout_s=300)
        for path in offered:
            path.unlink()
            (edge.inbox / path.name).unlink()
        return edge.records()[before:]


async def visit(bench: Bench, latency: Edge, throughput: Edge, place: Place) -> Visit:
    """Measure one cut on the link as it is: closed-loop, then saturated; a reference closed-loop only."""
    for attempt in range(TRIES):
        one = (await bench.run("latency", latency, place.cut, WARM + LATENCY_FRAMES))[WARM:]
        many: list[dict[str, Any]] = []
        if not place.reference:
            many = (await bench.run("throughput", throughput, place.cut, FILL + THROUGHPUT_FRAMES))[
                FILL - 1 :
            ]
        fallbacks = sum("fallback" in record or bool(record["error"]) for record in (*one, *many))
        if attempt + 1 == TRIES or not fallbacks:
            break
    ended = sorted(datetime.fromisoformat(record["answered_at"]).timestamp() for record in many)

    def times(stage: str) -> tuple[float, ...]:
        return tuple(record["ms"][stage] or 0.0 for record in one)

    return Visit(
        place=place,
        latency_ms=times("total"),
        head_ms=times("head"),
        link_ms=times("link"),
        tail_ms=times("tail"),
        fps=(len(ended) - 1) / (ended[-1] - ended[0]) if ended else 0.0,
        fallbacks=fallbacks,
    )


async def explore(experiment: Experiment, frames: Sequence[Path]) -> tuple[Frontier, list[Point]]:
    """Run the experiment, from where an earlier run stopped; return the frontier it is about, and its points."""
    bench = Bench(experiment, frames)
    visits = VisitFile(experiment.out / "visits.csv")
    async with bench.link() as link, bench.cloud() as cloud:
        await cloud.listening()
        edge_profile, cloud_profile = await bench.profiles()
        model = load_model(experiment.model, experiment.weights)
        graph = model.graph_for(frames[0].read_bytes()).with_output_bytes(
            {model.graph.source: round(statistics.median(frame.stat().st_size for frame in frames))}
        )
        frontier = Frontier.build(enumerate_closed_sets(graph), edge_profile.unit_ms, cloud_profile.unit_ms)
        labels = [frontier.cut(entry).label for entry in range(len(frontier))]
        places = schedule(experiment.links, labels, experiment.rounds)
        async with bench.pinned("latency", 1) as latency, bench.pinned("throughput", 4) as throughput:
            todo = [place for place in places if place not in visits]
            started = time.monotonic()
            for done, place in enumerate(todo):
                link.shape = LinkShape(rate_bps=place.rate_bps, delay_ms=place.delay_ms)
                show_progress(done, len(todo), started, describe(place))
                visits.add(await visit(bench, latency, throughput, place))
            show_progress(len(todo), len(todo), started, "done")

    def costs_of(label: str) -> Costs:
        cut = Cut.from_label(graph, label)
        return Costs.of(graph, cut, edge_profile.unit_ms, cloud_profile.unit_ms)

    return frontier, points_of(visits.visits, experiment.model, costs_of)


def describe(place: Place) -> str:
    return f"{format_bandwidth(place.rate_bps)}, {place.delay_ms:g} ms, round {place.round + 1}: {place.cut}"


def show_progress(done: int, total: int, started: float, what: str) -> None:
    """Show how far the run is and how long it will take, on a line of its own."""
    left = ""
    if done:
        seconds = (time.monotonic() - started) / done * (total - done)
        left = f", {seconds / 60:.0f} min left"
    end = "\r" if sys.stderr.isatty() and done < total else "\n"
    print(f"[{done}/{total}{left}] {what}"[:110].ljust(110), end=end, file=sys.stderr, flush=True)


def read_arguments(arguments: Sequence[str]) -> Experiment:
    parser = argparse.ArgumentParser(prog="cleave-edge pareto", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", default="default")
    parser.add_argument(
        "--executor", choices=("torch", "onnxruntime"), default="torch", help="on both sides (torch)"
    )
    parser.add_argument("--slowdown", type=float, default=4.0, help="how much slower the edge is played (4)")
    parser.add_argument("--rates", default="8mbit,20mbit,100mbit", help="of the link, comma-separated")
    parser.add_argument("--delays-ms", default="1,20", help="of the link, one way, comma-separated")
    parser.add_argument("--rounds", type=int, default=2, help="visits of each cut on each link (2)")
    parser.add_argument("--out", type=Path, default=Path("var/pareto"), help="directory for what is found")
    chosen = parser.parse_args(list(arguments))
    try:
        rates = tuple(parse_bandwidth(text) for text in chosen.rates.split(","))
        delays = tuple(float(text) for text in chosen.delays_ms.split(","))
        if not rates or min(rates) <= 0 or min(delays) < 0 or chosen.slowdown < 1 or chosen.rounds < 1:
            raise ValueError("rates must be above 0, delays at least 0, slowdown and rounds at least 1")
    except ValueError as error:
        parser.error(str(error))
    out = (chosen.out / chosen.model).absolute()
    return Experiment(
        chosen.model, chosen.weights, chosen.executor, chosen.slowdown, rates, delays, chosen.rounds, out
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command. What is measured is kept whatever ends it."""
    experiment = read_arguments(arguments)
    experiment.out.mkdir(parents=True, exist_ok=True)
    if reason := experiment.is_another_than_before():
        print(f"cleave-edge pareto: {reason}", file=sys.stderr)
        return 2
    frames = make_frames(experiment.out / "frames", 8)
    work = experiment.out / "daemons"
    shutil.rmtree(work, ignore_errors=True)
    try:
        frontier, points = asyncio.run(explore(experiment, frames))
    except DaemonError as error:
        print(f"cleave-edge pareto: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from {experiment.out / 'visits.csv'}", file=sys.stderr)
        return 130
    write_points(points, experiment.out / "points.csv")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(work)
    write_pictures(points, frontier, experiment.out)
    print(write_summary(points, experiment.out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
