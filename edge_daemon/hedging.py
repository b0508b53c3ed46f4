"""Two servers for a frame, the cloud and the edge: when the second one is asked, too. The first answer counts.

sent to the cloud ─── late? ──► begun on the edge as well
not sent: the link is full ──► begun on the edge ─── is the link free? ──► sent to the cloud as well
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from common.plan import Plan
from edge_daemon.early_look import AGAIN_S, look_early, look_twice
from edge_daemon.frames_away import BetterNotSentError
from edge_daemon.patience import (
    Progress,
    edge_free_in_s,
    edge_ready_in_s,
    hedge_s,
    is_worth_hedging,
    is_worth_sending,
    is_worth_sending_after_all,
    late_s,
    look_s,
    pace_told,
)
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread


class Hedging:
    """Looks at link and processor for the frames of one pipeline; `tell` hears how slow the link was found to be."""

    def __init__(self, compute: ComputeThread, uplink: Uplink, tell: Callable[[Progress], None]) -> None:
        self._compute = compute
        self._uplink = uplink
        self._tell = tell
        self._clock = time.perf_counter

    def raise_if_better_not_sent(self, plan: Plan, nbytes: int) -> None:
        """Raise `BetterNotSentError` where the edge has a frame of `nbytes` ready before the cloud would."""
        if self._compute.idle and self._uplink.longest_wait_s > late_s(plan):
            raise BetterNotSentError(
                f"a frame has waited {self._uplink.longest_wait_s:.2f} s for its answer", 0.0
            )
        ahead = self._uplink.ahead()
        wait_s = edge_free_in_s(plan, self._compute.busy_s, self._compute.waiting)
        if not is_worth_sending(plan, nbytes, ahead, wait_s):
            assert ahead is not None
            raise BetterNotSentError(
                f"{ahead.outstanding_bytes} bytes are on the link before this frame's", wait_s
            )

    async def is_late(self, frame: int, plan: Plan, asked: asyncio.Task[Any]) -> bool:
        """Wait for the cloud's answer; say whether it is late, and the edge would be quicker from now on."""
        wait_s, progress_of = hedge_s(plan), partial(self._uplink.progress, frame, plan.epoch)
        began = self._clock()
        if look_s(plan) < wait_s - AGAIN_S:
            await look_early(asked, look_s(plan), wait_s - AGAIN_S, progress_of, self._tell)
        looked_s = self._clock() - began
        while not asked.done():
            earlier, progress = await look_twice(asked, max(wait_s - looked_s, 0.0), progress_of)
            looked_s = 0.0
            if asked.done() or progress is None:
                continue
            if (told := pace_told(earlier, progress)) is not None:
                self._tell(told)
            if self._compute.idle and is_worth_hedging(plan, progress):
                return True
        return False

    async def is_free_after_all(
        self, plan: Plan, nbytes: int, finishing: asyncio.Task[Any], edge_wait_s: float
    ) -> bool:
        """Wait for the edge's answer to a frame that was not sent, and that it began after `edge_wait_s`; say whether
        the link has become so free meanwhile that the cloud would be quicker from now on.

        The link was full, and how fast it is perhaps not known: what arrives in the meantime tells.
        """
        began, arrived, pace = self._clock(), self._uplink.arrived_bytes, Progress(0, 0, 0.0)
        ready_s = edge_ready_in_s(plan, edge_wait_s)
        while not finishing.done():
            await asyncio.wait([finishing], timeout=AGAIN_S)
            past_s, outstanding = self._clock() - began, self._uplink.outstanding_bytes
            if outstanding or not pace.waited_s:
                pace = Progress(self._uplink.arrived_bytes - arrived, outstanding, past_s)
            if finishing.done() or not self._uplink.available or self._uplink.longest_wait_s > late_s(plan):
                continue
            if is_worth_sending_after_all(plan, nbytes, outstanding, pace, ready_s - past_s):
                return True
        return False
