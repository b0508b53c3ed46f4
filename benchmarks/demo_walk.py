"""The demo's walk through the bandwidths, with what it is compared to run beside it, round by round.

    each phase:   link ← rate
                  each round of six frames:   Cleave ─► the edge alone ─► the cloud alone   (in turn)

A machine's speed drifts by a tenth within minutes. Runs made one after another would compare the machine
with itself at another time; rounds a few seconds apart meet the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.demo_report import Phase, PhaseResult, Record
from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from benchmarks.pair import Cloud, Edge, free_port

ROUND = 6
"""Frames a contender answers before the next has its turn: two seconds, so that links stay known."""
LINK_HOST, OTHERS_LINK_HOST = "127.0.0.2", "127.0.0.3"
"""Links listen on other loopback addresses than the cloud, so that all use the same ports. Those that Cleave is
compared with have one of their own: it measures its link in their turns, too, and would find their frames there."""
REPLAN_INTERVAL_S = 2
CLOUD, CLEAVE, EDGE_ONLY, CLOUD_ONLY = DAEMONS = ("cloud", "results", "edge-only", "cloud-only")
"""The daemons' names, after which their logs, records and state are called."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the demo is run with."""

    directory: Path
    model: str
    weights: str
    slowdown: float
    fps: float
    delay_ms: float
    walk: tuple[Phase, ...]


@dataclass(slots=True)
class Contender:
    """An edge daemon that answers the frames, and how long its rounds took."""

    edge: Edge
    fps: float
    answered: int = 0
    records: list[Record] = field(default_factory=list)
    """Of the present phase."""
    seconds: float = 0.0
    """That the present phase's rounds took."""

    def begin_phase(self) -> None:
        self.records, self.seconds = [], 0.0

    async def answer(self, frames: Sequence[Path], seen: Callable[[Record], None] | None = None) -> None:
        """Have a round of frames answered, at the sampling rate; `seen` is called with each record."""
        began = time.monotonic()
        self.edge.offer(list(frames))
        last = self.answered + len(frames)
        while self.answered < last:
            await self.edge.answered(self.answered + 1, timeout_s=60)
            for record in self.edge.records()[self.answered : last]:
                self.answered += 1
                self.records.append(record)
                if seen is not None:
                    seen(record)
        # The next round's first frame is due one period after this one's last.
        await asyncio.sleep(max(0.0, began + len(frames) / self.fps - time.monotonic()))
        self.seconds += time.monotonic() - began


class Contenders(NamedTuple):
    """Who takes turns at each round."""

    cleave: Contender
    edge_only: Contender
    cloud_only: Contender


class Walk:
    """One run of the demo: a cloud daemon, two links alike, and three edge daemons that take turns."""

    def __init__(self, setting: Setting, frames: list[Path], console: Console) -> None:
        self._setting = setting
        self._warm_up, self._frames = frames[:1], frames[1:]
        self._console = console
        self._port, self._iperf_port = free_port(), free_port()
        self._shown_cut = ""

    async def run(self) -> list[PhaseResult]:
        async with (
            self._link(LINK_HOST) as link,
            self._link(OTHERS_LINK_HOST) as others_link,
            self._cloud() as cloud,
            self._contender(EDGE_ONLY, CLEAVE_EDGE_PLAN="edge-only") as edge_only,
            self._contender(CLOUD_ONLY, CLEAVE_EDGE_PLAN="cloud-only") as cloud_only,
        ):
            self._console.print("Two daemons for comparison start, one edge-only and one cloud-only …")
            await cloud.listening()
            await self._connected(cloud_only)
            for other in (edge_only, cloud_only):
                await other.answer(self._warm_up)
            async with self._contender(
                CLEAVE, LINK_HOST, CLEAVE_EDGE_REPLAN_INTERVAL_S=REPLAN_INTERVAL_S
            ) as cleave:
                self._console.print("Both sides measure the model (frames are served meanwhile) …")
                await cleave.answer(self._warm_up)
                await cleave.edge.planned(timeout_s=90)
                return await self._walk((link, others_link), Contenders(cleave, edge_only, cloud_only))

    async def _walk(self, links: Sequence[EmulatedLink], contenders: Contenders) -> list[PhaseResult]:
        results: list[PhaseResult] = []
        done = 0
        for phase in self._setting.walk:
            frames = self._frames[done : done + phase.frames]
            done += phase.frames
            results.append(await self._phase(phase, frames, links, contenders))
        return results

    async def _phase(
        self, phase: Phase, frames: list[Path], links: Sequence[EmulatedLink], contenders: Contenders
    ) -> PhaseResult:
        cleave, edge_only, cloud_only = contenders
        self._console.print(f"\n[bold]{phase.label}[/bold]")
        self._shown_cut = ""
        for contender in contenders:
            contender.begin_phase()
        for link in links:
            link.set_rate(phase.mbit * 1e6)
        began = time.time()
        for first in range(0, len(frames), ROUND):
            round_of_frames = frames[first : first + ROUND]
            await cleave.answer(round_of_frames, self._show)
            self._say("the same frames with the edge alone, for comparison")
            await edge_only.answer(round_of_frames)
            if phase.mbit:
                await self._connected(cloud_only)
                self._say("the same frames with the cloud alone, for comparison")
                await cloud_only.answer(round_of_frames)
        return PhaseResult(
            phase=phase,
            records=cleave.records,
            status=cleave.edge.status(),
            seconds=cleave.seconds,
            cloud_again_s=_cloud_again(cleave.edge, began),
            edge_only=edge_only.records,
            cloud_only=cloud_only.records,
        )

    async def _connected(self, cloud_only: Contender) -> None:
        await cloud_only.edge.until("cloud plan", lambda: cloud_only.edge.cut == "cloud-only", 60)

    # --- what is seen -----------------------------------------------------------------------------------
    def _show(self, record: Record) -> None:
        cut = record["plan"]["cut"] + (", finished on the edge" if "fallback" in record else "")
        if cut != self._shown_cut:
            self._shown_cut = cut
            self._say("")
            self._console.print(f"  frame {record['frame']:3d}  [cyan]{cut}[/cyan]", end="")
            self._console.print(f"  ({record['plan']['mode']})", highlight=False)
        top = record["top5"][0]["label"] if record["top5"] else record["error"]
        self._say(
            f"frame {record['frame']:3d} of {len(self._frames) + 1}  {record['ms']['total']:6.0f} ms  {top}"
        )

    def _say(self, text: str) -> None:
        """Show what happens now, in a line that the next one takes the place of."""
        if self._console.is_terminal:
            self._console.print(f"  {text}"[:100].ljust(100), end="\r", highlight=False)

    # --- the pieces -------------------------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def _link(self, host: str) -> AsyncIterator[EmulatedLink]:
        forwards = [
            Forward(listen=(host, port), target=("127.0.0.1", port))
            for port in (self._port, self._iperf_port)
        ]
        shape = LinkShape(rate_bps=self._setting.walk[0].mbit * 1e6, delay_ms=self._setting.delay_ms)
        async with EmulatedLink(forwards, shape) as link:
            yield link

    def _cloud(self) -> Cloud:
        return Cloud(
            self._setting.directory,
            name=CLOUD,
            port=self._port,
            CLEAVE_MODEL=self._setting.model,
            CLEAVE_WEIGHTS=self._setting.weights,
            CLEAVE_CLOUD_IPERF_PORT=self._iperf_port,
            CLEAVE_CLOUD_THREADS=1,
            CLEAVE_CLOUD_EXECUTOR="torch",
            CLEAVE_CLOUD_DEVICE="cpu",
        )

    @contextlib.asynccontextmanager
    async def _contender(
        self, name: str, link_host: str = OTHERS_LINK_HOST, **settings: Any
    ) -> AsyncIterator[Contender]:
        edge = Edge(
            self._setting.directory,
            name=name,
            cloud=(link_host, self._port),
            CLEAVE_MODEL=self._setting.model,
            CLEAVE_WEIGHTS=self._setting.weights,
            CLEAVE_EDGE_SLOWDOWN=self._setting.slowdown,
            CLEAVE_EDGE_THREADS=1,
            CLEAVE_EDGE_EXECUTOR="torch",  # ready at once; onnxruntime takes some seconds at its first start
            CLEAVE_EDGE_DEVICE="cpu",
            CLEAVE_EDGE_NAME=f"demo-{name}",
            CLEAVE_EDGE_SAMPLING_FPS=self._setting.fps,
            **settings,
        )
        async with edge:
            yield Contender(edge, self._setting.fps)


def _cloud_again(edge: Edge, began: float) -> float | None:
    """Return the seconds from `began` to the first plan since then that uses the cloud."""
    for entry in edge.logged("plan"):
        at = datetime.fromisoformat(entry["timestamp"]).timestamp()
        if at >= began and entry["cut"] != "edge-only":
            return at - began
    return None
