"""Facts about frames on their way: how far each has come, and that each gets one answer, its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, cast

import pytest

from common.wire.connection import Received
from common.wire.messages import Answer
from edge_daemon.frames_away import CloudBusyError, CloudLateError, FramesAway
from tests.common.wire.samples import SAMPLES
from tests.event_loop import run


class Stream:
    """A channel's counters, set by hand."""

    bytes_out = 0
    outstanding_bytes = 0

    @property
    def confirmed_bytes(self) -> int:
        return self.bytes_out - self.outstanding_bytes


def on_the_loop(scenario: Callable[[Stream, FramesAway], Coroutine[Any, Any, None]]) -> None:
    stream = Stream()
    run(scenario(stream, FramesAway(stream)))


def answer(frame: int, epoch: int) -> tuple[Answer, Received]:
    message = replace(cast(Answer, SAMPLES[Answer]), frame=frame, epoch=epoch)
    return message, Received(message, memoryview(b"x"), receive_s=0.0, spaced_bytes=0, at=time.perf_counter())


def test_an_answer_goes_to_its_frame_once() -> None:
    """By number and epoch; one for nobody, or for the second time, is nobody's."""

    async def scenario(stream: Stream, away: FramesAway) -> None:
        reply = away.expect(7, 1)
        assert not away.answered(*answer(7, 2))
        assert not away.answered(*answer(8, 1))
        assert not reply.done()
        assert away.answered(*answer(7, 1))
        assert bytes((await reply).payload) == b"x"
        assert not away.answered(*answer(7, 1))

    on_the_loop(scenario)


def test_an_error_goes_to_its_frame() -> None:
    """And a frame that is forgotten hears nothing."""

    async def scenario(stream: Stream, away: FramesAway) -> None:
        reply, other = away.expect(1, 1), away.expect(2, 1)
        assert away.failed(1, 1, CloudBusyError("busy"))
        with pytest.raises(CloudBusyError):
            await reply
        away.forget(2, 1)
        assert not away.failed(2, 1, CloudBusyError("busy"))
        assert not other.done()
        assert away.replies() == [reply]

    on_the_loop(scenario)


def test_a_frame_knows_whether_it_was_alone() -> None:
    """Neither the one that comes second is, nor the one it came to."""

    async def scenario(stream: Stream, away: FramesAway) -> None:
        first = away.expect(1, 1)
        second = away.expect(2, 1)
        for number in (1, 2):
            away.answered(*answer(number, 1))
            away.forget(number, 1)
        third = away.expect(3, 1)
        away.answered(*answer(3, 1))
        assert [(await reply).alone for reply in (first, second, third)] == [False, False, True]

    on_the_loop(scenario)


def test_progress_is_that_of_a_frames_own_bytes() -> None:
    """What was confirmed since it was handed over, and what is left up to its last byte."""

    async def scenario(stream: Stream, away: FramesAway) -> None:
        stream.bytes_out, stream.outstanding_bytes = 100, 40
        away.expect(1, 1)
        assert away.progress(1, 1) is None, "its message was not sent yet"
        stream.bytes_out, stream.outstanding_bytes = 1100, 1040
        away.sent(1, 1)
        stream.bytes_out, stream.outstanding_bytes = 1500, 900
        progress = away.progress(1, 1)
        assert progress is not None
        assert (progress.delivered_bytes, progress.outstanding_bytes) == (540, 500)
        ahead = away.ahead()
        assert ahead is not None
        assert (ahead.delivered_bytes, ahead.outstanding_bytes) == (540, 900)
        assert away.longest_wait_s() >= progress.waited_s
        stream.outstanding_bytes = 0
        away.forget(1, 1)
        assert away.ahead() is None
        assert away.longest_wait_s() == 0.0

    on_the_loop(scenario)


@pytest.mark.parametrize(
    "give_up",
    [
        lambda reply: None,
        lambda reply: reply.cancel(),
        lambda reply: reply.set_exception(CloudLateError("late")),
    ],
    ids=["forgotten", "cancelled", "told that it is late"],
)
def test_what_was_given_up_is_before_the_next_frame(give_up: Callable[[Any], object]) -> None:
    """Its bytes are on the line though nobody waits for them: the next frame is not alone, and asks what is ahead."""

    async def scenario(stream: Stream, away: FramesAway) -> None:
        reply = away.expect(1, 1)
        stream.bytes_out, stream.outstanding_bytes = 1000, 1000
        away.sent(1, 1)
        stream.outstanding_bytes = 900
        give_up(reply)
        away.forget(1, 1)
        ahead = away.ahead()
        assert ahead is not None
        assert (ahead.delivered_bytes, ahead.outstanding_bytes) == (100, 900)
        assert ahead.waited_s > 0
        assert away.longest_wait_s() == 0.0, "nobody waits"
        second = away.expect(2, 1)
        stream.outstanding_bytes = 0
        assert away.ahead() is not None, "of the second one, which waits for its answer"
        away.answered(*answer(2, 1))
        away.forget(2, 1)
        assert not (await second).alone
        assert away.ahead() is None
        third = away.expect(3, 1)
        away.answered(*answer(3, 1))
        assert (await third).alone

    on_the_loop(scenario)
