"""Finds a computation that never ends: no exception tells of it, and everything waits behind it for ever."""

from __future__ import annotations

import asyncio

from common.errors import HungError
from common.web.view import Health
from models.compute import ComputeThread

LOOK_S = 1.0
ALIVE_S = 60.0
"""A computation that takes longer is told by `/livez`, before it is held to have hung."""


async def watch(compute: ComputeThread, limit_s: float, look_s: float = LOOK_S) -> None:
    """Look on until a job has run for more than `limit_s`, then raise `HungError`.

    The thread cannot be ended from outside: whoever hears of this must end the process.
    """
    while compute.busy_s <= limit_s:  # noqa: ASYNC110 (what hangs tells nobody; there is nothing to wait for)
        await asyncio.sleep(look_s)
    raise HungError(
        f"a computation has run for {compute.busy_s:.0f} s and does not end (CLEAVE_HUNG_AFTER_S={limit_s:g}); "
        "the daemon ends, to be started anew"
    )


def alive(compute: ComputeThread, limit_s: float) -> Health:
    """Say whether the thread makes progress. Whoever hears the answer knows that the event loop does."""
    busy_s = compute.busy_s
    if busy_s > min(ALIVE_S, limit_s):
        return Health(False, f"a computation has run for {busy_s:.0f} s")
    return Health(True, "alive")
