"""An edge behind a link of its own, which is fed with frames all the time and cut again and again."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from tests.chaos.answers import RecordTail, cloud_again_s, longest_gap_s
from tests.chaos.cuts import Cut
from tests.chaos.forked import ForkedDaemon
from tests.chaos.task_report import report_tasks
from tests.chaos.tiny_pair import EDGE, Verdict, judge

FPS = 15.0
LOOK_S = 0.02
FEED_S = 0.2
AHEAD = 45
"""Files that lie in the inbox and have no record yet."""
GIVEN_UP_S = 30.0
"""A cut after which the cloud has answered no frame for this long is one that was not recovered from."""
MOST_BAD = 10
"""So many cuts that came to no good end are enough to know."""
GAP_BAR_S = 3.0
"""For an edge that chooses its cut itself: frames never stop for longer."""
LINK = LinkShape(rate_bps=50e6, delay_ms=2.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one cut: frames flowed `recovered_s` after its end (none: never).

    `gap_s`: for an edge that chooses its cut itself, the longest time without any answer. The bars are multiplied by
    `leniency`.
    """

    cut: Cut
    edge: str
    recovered_s: float | None
    gap_s: float | None = None
    leniency: float = 1.0

    @property
    def good(self) -> bool:
        if self.gap_s is not None:
            return self.gap_s <= GAP_BAR_S * self.leniency
        return self.recovered_s is not None and self.recovered_s <= self.cut.bar_s * self.leniency


class CutEdge:
    """One edge daemon, its link, its frames."""

    def __init__(
        self,
        root: Path,
        name: str,
        plan: str,
        link_host: str,
        cloud: tuple[str, int],
        iperf: tuple[str, int],
        tls: Path | None,
    ) -> None:
        self.name = name
        self.plan = plan
        self.inbox = root / f"{name}-inbox"
        self.results = root / f"{name}.jsonl"
        self.log = root / f"{name}.log"
        self.state = root / name
        self.told = root / f"{name}.tasks"
        self.tail = RecordTail(self.results)
        self.fed = True
        self.offered: list[str] = []
        self.outcomes: list[Outcome] = []
        self.inbox.mkdir()
        self.link = EmulatedLink(
            [
                Forward(listen=(link_host, cloud[1]), target=cloud),
                Forward(listen=(link_host, iperf[1]), target=iperf),
            ],
            LINK,
        )
        environment = {
            **EDGE,
            "CLEAVE_EDGE_NAME": "" if tls else name,
            "CLEAVE_EDGE_SOURCE": str(self.inbox),
            "CLEAVE_EDGE_RESULTS": str(self.results),
            "CLEAVE_EDGE_STATE_DIR": str(self.state),
            "CLEAVE_EDGE_CLOUD": f"{link_host}:{cloud[1]}",
            "CLEAVE_EDGE_PLAN": plan,
            "CLEAVE_EDGE_SAMPLING_FPS": str(FPS),
            **({"CLEAVE_EDGE_TLS": str(tls)} if tls else {}),
            # So weak that the cloud is worth its link.
            **({"CLEAVE_EDGE_SLOWDOWN": "20"} if plan == "auto" else {}),
        }
        self.daemon = ForkedDaemon(
            "edge", environment, self.log, alter=partial(report_tasks, self.told, collect=True)
        )

    async def feed(self, frames: Sequence[Path]) -> None:
        """Keep the inbox filled while `fed`, and take away what has its record, until cancelled."""
        while True:
            self._read()
            while self.fed and len(self.offered) - len(self.tail.all) < AHEAD:
                frame = frames[len(self.offered) % len(frames)]
                name = f"{len(self.offered):06d}-{frame.name}"
                os.link(frame, self.inbox / name)
                self.offered.append(name)
            await asyncio.sleep(FEED_S)

    async def flowing(self, timeout_s: float) -> None:
        """Wait until the cloud answers frames, by a plan if the edge makes its own. Raises `TimeoutError`."""
        if self.plan == "auto":
            await self._until(lambda: bool(self._status.get("profiled")), timeout_s, "profiles")
            return
        since = time.time()
        await self._until(
            lambda: cloud_again_s(self.tail, since) is not None, timeout_s, "answer of the cloud"
        )

    async def run_cuts(self, cuts: Iterable[Cut], leniency: float) -> None:
        """Cut the link again and again, each time after it has recovered; stop where that makes no sense any more."""
        for number, cut in enumerate(cuts):
            await asyncio.sleep(cut.calm_s)
            began = time.time()
            cut.begin(self.link)
            await asyncio.sleep(cut.outage_s)
            cut.end(self.link)
            outcome = await self._outcome(cut, began, time.time())
            self.outcomes.append(replace(outcome, leniency=leniency))
            if not self.outcomes[-1].good:
                print(f"{self.name} ({self.plan}), cut {number}: {self.outcomes[-1]}", flush=True)
            if not self.daemon.running or sum(not outcome.good for outcome in self.outcomes) >= MOST_BAD:
                return

    async def _outcome(self, cut: Cut, began: float, ended: float) -> Outcome:
        if self.plan == "auto":
            await asyncio.sleep(GAP_BAR_S)
            self._read()
            gap_s = longest_gap_s(self.tail, began - 1.0, ended + GAP_BAR_S)
            return Outcome(cut, self.name, None, gap_s)
        recovered_s = None
        while recovered_s is None and time.time() < ended + GIVEN_UP_S and self.daemon.running:
            await asyncio.sleep(LOOK_S)
            self._read()
            recovered_s = cloud_again_s(self.tail, ended)
        return Outcome(cut, self.name, recovered_s)

    def _read(self) -> None:
        for record in self.tail.read():
            (self.inbox / record.name).unlink(missing_ok=True)

    async def drained(self, timeout_s: float) -> None:
        """Wait until every file has its record. Raises `TimeoutError`."""
        await self._until(lambda: len(self.tail.all) >= len(self.offered), timeout_s, "record for each file")

    async def _until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.daemon.running or time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: no {what} within {timeout_s:g} s")
            await asyncio.sleep(LOOK_S)
            self._read()

    def verdict(self, classes: Mapping[str, int]) -> Verdict:
        """Judge the records: one for each file, with the class of the frame that it is a copy of."""
        right = {name: classes[name.partition("-")[2]] for name in self.offered}
        return judge(self.results.read_bytes(), self.offered, right)

    @property
    def connected(self) -> bool:
        """Whether the edge says that it may use the cloud."""
        return bool(self._status["link"]["available"])

    @property
    def _status(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads((self.state / "status.json").read_text())
        except FileNotFoundError:  # not yet
            return {}
        return document
