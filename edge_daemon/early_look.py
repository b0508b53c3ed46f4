"""A look at the link while a frame is on it: one that has become slow is known before the next frame is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from common import limits
from edge_daemon.patience import Progress

AGAIN_S = 0.05
"""Between two looks."""
STANDSTILL_S = 0.2
"""A link on which nothing has moved for so long stands still: the least of TCP's timeouts, after a lost packet."""


async def look_twice(
    asked: asyncio.Future[Any], wait_s: float, progress: Callable[[], Progress | None]
) -> tuple[Progress | None, Progress | None]:
    """Return `progress` `AGAIN_S` before `wait_s` has passed, and then; neither where `asked` is done before.

    The two lie as far apart however short the wait is.
    """
    await asyncio.wait([asked], timeout=max(wait_s - AGAIN_S, 0.0) if math.isfinite(wait_s) else None)
    if asked.done():
        return None, None
    earlier = progress()
    await asyncio.wait([asked], timeout=AGAIN_S)
    return earlier, progress()


async def look_early(
    asked: asyncio.Future[Any],
    after_s: float,
    until_s: float,
    progress: Callable[[], Progress | None],
    tell: Callable[[Progress], None],
) -> None:
    """Begin to look at `progress` after `after_s`, by when a frame's bytes should have arrived; `tell`, once, what
    arrived between two looks, if bytes are left then.

    Only what moves tells of the link: one that stands still for a moment goes on as it was. Ends when `asked` is
    done, nothing is left on the link, or `until_s` has passed, all from now on.
    """
    await asyncio.wait([asked], timeout=after_s)
    first = moved_at = now = progress()
    waited_s = after_s
    while first is not None and now is not None and now.outstanding_bytes and not asked.done():
        assert moved_at is not None
        step = now.since(moved_at)
        if not now.since(first).delivered_bytes or step.waited_s >= STANDSTILL_S:
            first = moved_at = now  # a standstill is no part of its pace, nor what came after it in one look
        elif step.delivered_bytes:
            moved_at = now
        moved = now.since(first)
        if moved.delivered_bytes >= limits.MIN_GOODPUT_BYTES:
            tell(moved)
            return
        if waited_s >= until_s:
            return
        await asyncio.wait([asked], timeout=AGAIN_S)
        waited_s += AGAIN_S
        now = progress()
