"""Waiting for the cloud with a frame: for room on the line, then for the answer, as long as bytes move."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from edge_daemon.frames_away import Reply
from edge_daemon.line import Line

LOOKS = 4
"""Times that a frame is looked after while it waits as long as is usual."""


async def has_room(line: Line, reply: asyncio.Future[Reply], patience_s: float) -> bool:
    """Wait until the line has room for a frame; say whether it has, or nothing has left it for `patience_s`.

    Raises what `reply` is told meanwhile: the line is suspected.
    """
    confirmed = line.channel.confirmed_bytes
    room = asyncio.ensure_future(line.channel.writable())
    waiting: set[asyncio.Future[Any]] = {room, reply}
    try:
        while not (await asyncio.wait(waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED))[0]:
            before, confirmed = confirmed, line.channel.confirmed_bytes
            if confirmed == before:
                return False
        (reply if reply.done() else room).result()
        return True
    finally:
        if not room.cancel():
            room.exception()  # taken note of


async def heard_while_it_moves(
    line: Line, reply: asyncio.Future[Reply], frame: tuple[int, int], patience_s: float
) -> bool:
    """Wait for a frame's answer until, for `patience_s`, none of its bytes has arrived and no frame before it was
    answered; say whether it came.

    Looks a few times meanwhile: what has arrived whole by the first look does not prolong the wait.
    """
    delivered, answers, moved_at = 0, line.frames.answers, time.perf_counter()
    while not reply.done():
        await asyncio.wait({reply}, timeout=patience_s / LOOKS)
        progress, now = line.frames.progress(*frame), time.perf_counter()
        if reply.done() or progress is None:
            break
        if progress.outstanding_bytes and progress.delivered_bytes > delivered:
            delivered, moved_at = progress.delivered_bytes, now
        if line.frames.answers > answers:  # the cloud has done with one before it
            answers, moved_at = line.frames.answers, now
        if now - moved_at >= patience_s:
            return False
    return True
