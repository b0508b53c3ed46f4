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


async def answer_while_it_moves(
    line: Line, reply: asyncio.Future[Reply], frame: tuple[int, int], patience_s: float
) -> Reply | None:
    """Wait for a frame's answer; none when for `patience_s` none of its bytes has arrived, and no frame before it was
    answered.

    Looks a few times meanwhile: what has arrived whole by the first look does not prolong the wait.
    """
    watch = _Watch(line, reply, frame, patience_s)
    try:
        return await reply
    except _StandsStillError:
        return None
    finally:
        watch.end()
        del watch, reply  # whose error knows this frame of ours


class _StandsStillError(Exception):
    """What a frame's reply is told when nothing of the frame moves."""


class _Watch:
    """Looks at a frame on its way, from a timer: a task that waited for both would cost more than all its looks."""

    def __init__(
        self, line: Line, reply: asyncio.Future[Reply], frame: tuple[int, int], patience_s: float
    ) -> None:
        self._line = line
        self._reply = reply
        self._frame = frame
        self._patience_s = patience_s
        self._delivered = 0
        self._answers = line.frames.answers
        self._moved_at = time.perf_counter()
        self._again()

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _again(self) -> None:
        self._timer = self._reply.get_loop().call_later(self._patience_s / LOOKS, self._look)

    def _look(self) -> None:
        frames = self._line.frames
        progress, now = frames.progress(*self._frame), time.perf_counter()
        if self._reply.done() or progress is None:
            return
        if progress.outstanding_bytes and progress.delivered_bytes > self._delivered:
            self._delivered, self._moved_at = progress.delivered_bytes, now
        if frames.answers > self._answers:  # the cloud has done with one before it
            self._answers, self._moved_at = frames.answers, now
        if now - self._moved_at >= self._patience_s:
            self._reply.set_exception(_StandsStillError())
        else:
            self._again()
