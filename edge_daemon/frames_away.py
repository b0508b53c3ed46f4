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
    """The link or the cloud is slower than planned with: the edge has the answer sooner."""

    kind = "late"


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
class WaitingFrame:
    """A frame that was handed over at `started` and waits for its answer.

    `confirmed` bytes of the stream had arrived by then; its own last one is `sent_to`, once it was sent.
    """

    started: float
    reply: asyncio.Future[Reply]
    alone: bool
    confirmed: int
    sent_to: int | None = None


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
        self.answers = 0
        """Answers that somebody waited for, since the line was made."""

    def expect(self, frame: int, epoch: int) -> asyncio.Future[Reply]:
        """Begin to wait for a frame's answer."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        for other in self._waiting.values():
            other.alone = False
        self._waiting[frame, epoch] = WaitingFrame(
            time.perf_counter(), reply, alone=not self._waiting, confirmed=self._stream.confirmed_bytes
        )
        return reply

    def sent(self, frame: int, epoch: int) -> None:
        """Take note that the frame's message was handed to the channel just now."""
        self._waiting[frame, epoch].sent_to = self._stream.bytes_out

    def progress(self, frame: int, epoch: int) -> Progress | None:
        """Say what has arrived since a frame was handed over, and what is left up to its last byte."""
        waiting = self._waiting.get((frame, epoch))
        if waiting is None or waiting.sent_to is None:
            return None
        confirmed = self._stream.confirmed_bytes
        return Progress(
            delivered_bytes=max(confirmed - waiting.confirmed, 0),
            outstanding_bytes=max(waiting.sent_to - confirmed, 0),
            waited_s=time.perf_counter() - waiting.started,
        )

    def ahead(self) -> Progress | None:
        """Say how the frame that has waited longest has come on, and what is left of all bytes on this line.

        None where no frame waits.
        """
        oldest = min(self._waiting.values(), key=lambda waiting: waiting.started, default=None)
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
        return max((now - waiting.started for waiting in self._waiting.values()), default=0.0)

    def started(self, frame: int, epoch: int) -> float:
        """When a waiting frame was handed over, by `time.perf_counter`."""
        return self._waiting[frame, epoch].started

    def forget(self, frame: int, epoch: int) -> None:
        """Wait for this frame no more."""
        self._waiting.pop((frame, epoch), None)

    def answered(self, answer: Answer, event: Received) -> bool:
        """Give an answer to whoever waits for it; say whether anybody does."""
        waiting = self._still((answer.frame, answer.epoch))
        if waiting is None:
            return False
        self.answers += 1
        round_trip_ms = (event.at - waiting.started) * 1e3
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

    def _still(self, frame: tuple[int, int]) -> WaitingFrame | None:
        waiting = self._waiting.get(frame)
        return None if waiting is None or waiting.reply.done() else waiting
