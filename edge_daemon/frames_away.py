"""Frames on their way: handed to a line, their answers not there yet; how far each has come, and how it ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from common.errors import CleaveError, LinkError
from common.wire.connection import Received
from common.wire.messages import Answer
from edge_daemon.patience import Progress


class CloudBusyError(LinkError):
    """The cloud did not take the frame."""

    kind = "busy"


class CloudFailedError(LinkError):
    """The cloud could not run the frame, through no fault of the frame."""

    kind = "failed"


class CloudLateError(LinkError):
    """The link or the cloud is slower than planned with: the edge has the answer sooner.

    `progress` is how far the frame had come, where that was looked at.
    """

    kind = "late"

    def __init__(self, reason: str, progress: Progress | None = None) -> None:
        super().__init__(reason)
        self.progress = progress


class BetterNotSentError(CloudLateError):
    """The frame was not sent: the edge, which can begin it in `edge_wait_s`, has its answer sooner."""

    def __init__(self, reason: str, edge_wait_s: float) -> None:
        super().__init__(reason)
        self.edge_wait_s = edge_wait_s


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame's answer, its payload, and its round trip from handing over to arriving, in ms.

    `alone`: no other frame of this edge was on its way meanwhile, so that it waited for none.
    """

    answer: Answer
    payload: memoryview
    round_trip_ms: float
    alone: bool = True


@dataclass(slots=True)
class Passage:
    """A frame's bytes on a line: handed over at `started`, when `confirmed` bytes of the stream had arrived.

    Its own last one is `sent_to`, once it was sent.
    """

    started: float
    confirmed: int
    sent_to: int | None = None


@dataclass(slots=True)
class WaitingFrame:
    """A frame that waits for its answer. `alone`: no other frame's bytes or answer were on their way with it."""

    passage: Passage
    reply: asyncio.Future[Reply]
    alone: bool


class ByteStream(Protocol):
    """The channel that frames are sent on, as far as it tells how far they have come."""

    bytes_out: int

    @property
    def outstanding_bytes(self) -> int: ...
    @property
    def confirmed_bytes(self) -> int: ...


class FramesAway:
    """The frames of one line that wait for their answers, by number and epoch."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._waiting: dict[tuple[int, int], WaitingFrame] = {}
        self._given_up: Passage | None = None
        """Of the last frame whose answer nobody waits for any more, and that may still have bytes on the line."""
        self.answers = 0
        """Answers that somebody waited for, since the line was made."""

    def expect(self, frame: int, epoch: int) -> asyncio.Future[Reply]:
        """Begin to wait for a frame's answer."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        alone = not self._passages()
        for other in self._waiting.values():
            other.alone = False
        passage = Passage(time.perf_counter(), self._stream.confirmed_bytes)
        self._waiting[frame, epoch] = WaitingFrame(passage, reply, alone)
        return reply

    def sent(self, frame: int, epoch: int) -> None:
        """Take note that the frame's message was handed to the channel just now."""
        self._waiting[frame, epoch].passage.sent_to = self._stream.bytes_out

    def progress(self, frame: int, epoch: int) -> Progress | None:
        """Say what has arrived since a frame was handed over, and what is left up to its last byte."""
        waiting = self._waiting.get((frame, epoch))
        if waiting is None or (passage := waiting.passage).sent_to is None:
            return None
        confirmed = self._stream.confirmed_bytes
        return Progress(
            delivered_bytes=max(confirmed - passage.confirmed, 0),
            outstanding_bytes=max(passage.sent_to - confirmed, 0),
            waited_s=time.perf_counter() - passage.started,
        )

    def ahead(self) -> Progress | None:
        """Say how the frame that was handed over first has come on, and what is left of all bytes on this line.

        None where no frame waits, and none that was given up has left bytes there.
        """
        oldest = min(self._passages(), key=lambda passage: passage.started, default=None)
        if oldest is None:
            return None
        outstanding = self._stream.outstanding_bytes
        return Progress(
            delivered_bytes=max(self._stream.bytes_out - outstanding - oldest.confirmed, 0),
            outstanding_bytes=outstanding,
            waited_s=time.perf_counter() - oldest.started,
        )

    def longest_wait_s(self) -> float:
        """How long the frame that waits for its answer longest has waited; 0 if none does."""
        now = time.perf_counter()
        return max((now - waiting.passage.started for waiting in self._waiting.values()), default=0.0)

    def started(self, frame: int, epoch: int) -> float:
        """When a waiting frame was handed over, by `time.perf_counter`."""
        return self._waiting[frame, epoch].passage.started

    def forget(self, frame: int, epoch: int) -> None:
        """Wait for this frame no more."""
        waiting = self._waiting.pop((frame, epoch), None)
        if waiting is not None and not _answered(waiting.reply) and self._is_on_the_line(waiting.passage):
            self._given_up = waiting.passage

    def answered(self, answer: Answer, event: Received) -> bool:
        """Give an answer to whoever waits for it; say whether anybody does."""
        waiting = self._still((answer.frame, answer.epoch))
        if waiting is None:
            return False
        self.answers += 1
        round_trip_ms = (event.at - waiting.passage.started) * 1e3
        waiting.reply.set_result(Reply(answer, event.payload, round_trip_ms, waiting.alone))
        return True

    def failed(self, frame: int, epoch: int, error: CleaveError) -> bool:
        """Give an error to whoever waits for a frame; say whether anybody does."""
        waiting = self._still((frame, epoch))
        if waiting is None:
            return False
        waiting.reply.set_exception(error)
        return True

    def replies(self) -> list[asyncio.Future[Reply]]:
        """What is waited for."""
        return [waiting.reply for waiting in self._waiting.values()]

    def _passages(self) -> list[Passage]:
        """Return those of the frames that wait, and of one that was given up with bytes still on the line."""
        waiting = [waiting.passage for waiting in self._waiting.values()]
        if self._given_up is None or not self._is_on_the_line(self._given_up):
            self._given_up = None
            return waiting
        return [*waiting, self._given_up]

    def _is_on_the_line(self, passage: Passage) -> bool:
        return passage.sent_to is not None and self._stream.confirmed_bytes < passage.sent_to

    def _still(self, frame: tuple[int, int]) -> WaitingFrame | None:
        waiting = self._waiting.get(frame)
        return None if waiting is None or waiting.reply.done() else waiting


def _answered(reply: asyncio.Future[Reply]) -> bool:
    """Say whether a reply is an answer: not pending, given up, or an error."""
    return reply.done() and not reply.cancelled() and reply.exception() is None
