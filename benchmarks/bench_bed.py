"""The pair as the benchmarks run it: a cloud daemon, edge daemons that take turns, on a link, pinned to cores.

    core 0: the edges, paced, one thread each      core 1: the cloud, one thread; and who drives the benchmark

Profiles and executors are measured once for a model, by a daemon that ends then; all edges start from its state.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench_candidates import Candidate, candidates_of
from benchmarks.bench_link import BenchLink
from benchmarks.pair import Cloud, Edge
from common.partition.closed_sets import enumerate_closed_sets
from common.partition.codings import Codings
from common.partition.frontier import Frontier
from common.profile import Profile
from models.zoo import load_model

FRAMES = 8
"""Different frames, which come again and again."""
PINNED_INTERVAL_S = 0.3
"""An edge with a fixed plan looks at its plan file this often; it measures nothing."""
PROFILING_RATE_BPS = 100e6
_PLANNED_S, _PREPARED_S, _ANSWERED_S = 600.0, 120.0, 300.0
_PROFILING = "profiling"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Which model the two daemons run, and how."""

    model: str
    weights: str
    slowdown: float
    executor: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model on this machine before anything is compared."""

    candidates: tuple[Candidate, ...]
    """The whole frontier."""
    edge_executor: str
    cloud_executor: str

    def candidate(self, label: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.label == label)


class Bed:
    """Starts the daemons of one model in `work`, and has frames answered by them."""

    def __init__(self, pair: Pair, link: BenchLink, work: Path, frames: Sequence[Path]) -> None:
        self.pair = pair
        self.link = link
        self.frames = tuple(frames)
        self._work = work
        self._numbers = itertools.count()
        self._turns = itertools.count()
        self._executor = pair.executor

    # --- the daemons ------------------------------------------------------------------------------------
    def cloud(self, **settings: Any) -> Cloud:
        self._keep("cloud")
        common: dict[str, Any] = {
            "CLEAVE_MODEL": self.pair.model,
            "CLEAVE_WEIGHTS": self.pair.weights,
            "CLEAVE_CLOUD_IPERF_PORT": self.link.ports.probes,
            "CLEAVE_CLOUD_THREADS": 1,
            "CLEAVE_CLOUD_EXECUTOR": self.pair.executor,
            "CLEAVE_CLOUD_DEVICE": "cpu",
        }
        return Cloud(
            self._work,
            host=self.link.listen_host,
            port=self.link.ports.cleave,
            prefix=self.link.cloud_prefix,
            **{**common, **settings},
        )

    def edge(self, name: str, **settings: Any) -> Edge:
        """An edge with a state of its own, which begins as that of the profiling one."""
        self._begin_anew(name)
        common: dict[str, Any] = {
            "CLEAVE_MODEL": self.pair.model,
            "CLEAVE_WEIGHTS": self.pair.weights,
            "CLEAVE_EDGE_NAME": f"bench-{name}",
            "CLEAVE_EDGE_SLOWDOWN": self.pair.slowdown,
            "CLEAVE_EDGE_THREADS": 1,
            "CLEAVE_EDGE_EXECUTOR": self._executor,
            "CLEAVE_EDGE_DEVICE": "cpu",
        }
        return Edge(
            self._work,
            name=name,
            cloud=(self.link.cloud_host, self.link.ports.cleave),
            prefix=self.link.edge_prefix,
            **{**common, **settings},
        )

    def adaptive(self, **settings: Any) -> Edge:
        """An edge that plans for itself. It logs when it measures the link, which disturbs whoever works then."""
        return self.edge("adaptive", CLEAVE_EDGE_PLAN="auto", CLEAVE_LOG_LEVEL="debug", **settings)

    def pinned(self, name: str, **settings: Any) -> PinnedEdge:
        plan = self._work / f"{name}.plan"
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text("edge-only")
        edge = self.edge(
            name,
            CLEAVE_EDGE_PLAN=f"@{plan}",
            CLEAVE_EDGE_REPLAN_INTERVAL_S=PINNED_INTERVAL_S,
            **settings,
        )
        return PinnedEdge(edge, plan)

    def _begin_anew(self, name: str) -> None:
        """Give an edge the state to start from, and nothing else of an edge of that name before it.

        What that edge told of its frames and wrote to its log is kept beside, numbered: a point that went wrong is
        understood by it.
        """
        self._keep(name)
        (self._work / name / "status.json").unlink(missing_ok=True)
        shutil.rmtree(self._work / f"{name}-inbox", ignore_errors=True)
        start = self._work / _PROFILING
        if name != _PROFILING and start.exists():
            (self._work / name).mkdir(parents=True, exist_ok=True)
            for source in start.iterdir():
                target = self._work / name / source.name
                if source.name != "status.json" and not target.exists():
                    os.link(source, target)  # an exported network may have half a gigabyte

    def _keep(self, name: str) -> None:
        """Put a daemon's log and records beside, numbered: the next one of that name writes its own."""
        number = 1 + len(list(self._work.glob(f"{name}-*.log")))
        for told in (self._work / f"{name}.jsonl", self._work / f"{name}.log"):
            if told.exists():
                told.rename(told.with_stem(f"{name}-{number}"))

    # --- before the measurements ------------------------------------------------------------------------
    async def know(self, cloud: Cloud) -> Known:
        """Have both daemons choose their executors and measure their profiles, or find those of an earlier start."""
        self.link.set_rate(PROFILING_RATE_BPS)
        async with self.edge(_PROFILING) as edge:
            await self.run(edge, 1)
            await edge.planned(_PLANNED_S)
            self._executor = edge.logged("model ready")[-1]["executor"]
            cloud_executor = cloud.logged("model ready")[-1]["executor"]
            edge_profile = _profile(edge.state, self._executor)
            cloud_profile = _profile(self._work / "cloud", cloud_executor)
        model = load_model(self.pair.model, self.pair.weights)
        size = round(statistics.median(frame.stat().st_size for frame in self.frames))
        graph = model.graph_for(self.frames[0].read_bytes()).with_output_bytes({model.graph.source: size})
        codings = Codings.of(graph, edge_profile, cloud_profile)
        frontier = Frontier.build(
            enumerate_closed_sets(graph), edge_profile.unit_ms, cloud_profile.unit_ms, codings
        )
        return Known(tuple(candidates_of(frontier)), self._executor, cloud_executor)

    # --- frames -----------------------------------------------------------------------------------------
    async def run(self, edge: Edge, count: int, first: int | None = None) -> list[Record]:
        """Have `count` frames answered; return their records in the order of answering. `first`: see `offer`."""
        before = len(edge.records())
        offered = self.offer(edge, count, first)
        await edge.answered(before + count, _ANSWERED_S)
        for path in offered:
            (edge.inbox / path.name).unlink()
        return edge.records()[before:]

    def offer(self, edge: Edge, count: int, first: int | None = None) -> list[Path]:
        """Put `count` frames into an edge's inbox, each under a name of its own; return what they are called.

        Frames come in turn, from the one numbered `first` on, or as a camera's do: from where the last ones ended.
        """
        scratch = self._work / "offered"
        scratch.mkdir(parents=True, exist_ok=True)
        offered = []
        numbers = range(first, first + count) if first is not None else itertools.islice(self._turns, count)
        for number in numbers:
            path = scratch / f"{next(self._numbers):07d}.jpg"
            shutil.copyfile(self.frames[number % len(self.frames)], path)
            offered.append(path)
        edge.offer(offered)
        for path in offered:
            path.unlink()
        return offered


@dataclass(frozen=True, slots=True)
class PinnedEdge:
    """An edge whose plan is what its plan file says."""

    edge: Edge
    plan: Path

    async def use(self, label: str) -> None:
        """Have frames run under the cut `label` from now on."""
        self.plan.write_text(label)
        await self.edge.until(f"plan {label}", lambda: self.edge.cut == label, _PREPARED_S)


def _profile(state: Path, executor: str) -> Profile:
    """Return the newest of a daemon's saved profiles with `executor`."""
    saved = sorted(state.glob("profile-*.json"), key=lambda path: path.stat().st_mtime)
    profiles = [Profile.from_json(path.read_bytes()) for path in saved]
    return [profile for profile in profiles if profile.key.executor == executor][-1]
