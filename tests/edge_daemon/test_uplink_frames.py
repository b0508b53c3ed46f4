"""Facts about frames on the edge's line to the cloud: answers, late ones, lost ones, and silence."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import replace

import numpy as np
import pytest

from common import limits
from common.errors import (
    FrameError,
    LinkLostError,
)
from common.wire.connection import Received
from common.wire.messages import (
    Busy,
    Bye,
    Drain,
    Failed,
    Infer,
    Pong,
    Welcome,
)
from edge_daemon import frames_away, line
from edge_daemon.cloud_load import AnsweredWait, ExpectedWait
from edge_daemon.frame_wait import LOOKS
from edge_daemon.frames_away import CloudBusyError, CloudFailedError, CloudLateError
from edge_daemon.patience import Progress
from tests.common.wire.samples import packed
from tests.edge_daemon.fake_cloud import (
    ENTRIES,
    FakeSession,
    answer_to,
    connected,
    hurry,
    infer,
    more_than_fits,
    of,
)
from tests.event_loop import run, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_a_frame_gets_its_answer() -> None:
    """Tensors go up under frame and epoch, the answer comes with its payload and the whole round trip."""

    def reply(session: FakeSession, event: Received) -> None:
        assert bytes(event.payload) == b"12345"
        session.channel.send(answer_to(of(event)), [b"answer"])

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            cloud.on[Infer] = reply
            found = await infer(line_, 7, 3)
            assert (found.answer.frame, found.answer.epoch) == (7, 3)
            assert bytes(found.payload) == b"answer"
            assert found.round_trip_ms > 0
            assert [sample.origin for sample in heard.samples] == ["traffic"]
            assert heard.samples[0].bps == pytest.approx(50_000 * 8 / 0.01)
            assert cloud.session.all(Infer)[0] == Infer(
                frame=7, epoch=3, deadline_ms=80_000.0, tensors=ENTRIES
            )

    run(main())


def test_the_clouds_load_is_heard_with_answers_and_pongs() -> None:
    """What a frame did wait for others', also if its answer is stale, and what one would wait that came now."""

    def reply(session: FakeSession, event: Received) -> None:
        session.channel.send(answer_to(of(event), epoch=99))
        session.channel.send(answer_to(of(event)))

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            cloud.on[Infer] = reply
            await infer(line_)
            assert [wait.ms for wait in heard.waits if isinstance(wait, AnsweredWait)] == [0.5, 0.5]
            await until(lambda: any(isinstance(wait, ExpectedWait) for wait in heard.waits))
            expected = [wait for wait in heard.waits if isinstance(wait, ExpectedWait)]
            assert {(wait.ms, wait.in_line_ms) for wait in expected} == {(3.0, 9.0)}

    run(main())


def test_answers_find_their_frames_in_any_order() -> None:
    """Four frames in flight, answered backwards."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            waiting = [asyncio.ensure_future(infer(line_, frame)) for frame in range(4)]
            await until(lambda: len(cloud.session.all(Infer)) == 4)
            for event in [e for e in cloud.session.received if isinstance(e.message, Infer)][::-1]:
                cloud.session.channel.send(answer_to(of(event)), [b"%d" % of(event).frame])
            for frame, reply in enumerate(await asyncio.gather(*waiting)):
                assert reply.answer.frame == frame
                assert bytes(reply.payload) == b"%d" % frame

    run(main())


def test_stale_answers_are_dropped_and_counted() -> None:
    """What answers another epoch, a frame nobody waits for, or one for the second time, reaches nobody."""

    def reply(session: FakeSession, event: Received) -> None:
        message = of(event)
        session.channel.send(answer_to(message, epoch=message.epoch + 1))
        session.channel.send(answer_to(Infer(frame=99, epoch=1, deadline_ms=0, tensors=())))
        session.channel.send(answer_to(message), [b"right"])
        session.channel.send(answer_to(message), [b"again"])
        session.channel.send(Busy(frame=99, epoch=1, retry_after_ms=0))
        session.channel.send(Failed(frame=99, epoch=1, frame_at_fault=True, reason="?"))

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[Infer] = reply
            assert bytes((await infer(line_)).payload) == b"right"
            await until(lambda: line_.counts.stale_answers == 5)
            assert line_.available

    run(main())


def test_busy_and_failed_say_whose_fault_it_was() -> None:
    """A busy cloud and a failing one let the frame be finished here; a frame at fault fails anywhere."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            for reply, error in (
                (Busy(frame=1, epoch=1, retry_after_ms=5.0), CloudBusyError),
                (Failed(frame=1, epoch=1, frame_at_fault=False, reason="no memory"), CloudFailedError),
                (Failed(frame=1, epoch=1, frame_at_fault=True, reason="no memory"), FrameError),
            ):
                cloud.on[Infer] = lambda session, event, reply=reply: session.channel.send(reply)  # type: ignore[misc]
                with pytest.raises(error, match=r"busy|no memory"):
                    await infer(line_)
            assert line_.available
            assert heard.downs == []

    run(main())


def test_an_overdue_answer_suspects_the_line_until_it_is_heard_again() -> None:
    """Frames go on without the cloud at once, on no connection anew; one word of the cloud ends the suspicion."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            cloud.answers_pings = False
            other = asyncio.ensure_future(infer(line_, 2))
            with pytest.raises(LinkLostError, match=r"no answer to frame 1 within 0.1 s of its bytes"):
                await infer(line_, 1, timeout_s=0.05)
            assert not line_.available
            assert heard.downs == ["no answer to frame 1 within 0.1 s of its bytes"]
            assert line_.counts.suspicions == 1
            with pytest.raises(LinkLostError, match="frame 1"):  # whoever else waited
                await other
            with pytest.raises(LinkLostError, match="no connection"):
                await infer(line_, 3)
            cloud.answers_pings = True
            await until(lambda: line_.available)
            assert (heard.ups, line_.counts.connections) == (2, 1)
            cloud.on[Infer] = lambda session, event: session.channel.send(answer_to(of(event)))
            assert (await infer(line_, 3)).answer.frame == 3

    run(main())


@pytest.mark.parametrize("moves", ["its bytes arrive", "those before it are answered"])
def test_a_frame_is_waited_for_while_something_moves(moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow link is no dead one, and a cloud that has several of this edge's frames is not silent: patience begins
    anew with whatever has arrived, and with each answer."""
    looks = 0

    def moved(away: frames_away.FramesAway, *_: object) -> Progress:
        nonlocal looks
        looks += 1
        if moves == "its bytes arrive":
            return Progress(delivered_bytes=looks, outstanding_bytes=1, waited_s=0.1)
        away.answers += 1
        return Progress(delivered_bytes=5, outstanding_bytes=0, waited_s=0.1)

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            monkeypatch.setattr(frames_away.FramesAway, "progress", moved)
            waiting = asyncio.ensure_future(
                line_.infer(1, 1, ENTRIES, [b"12345"], patience_s=0.02, longest_s=20.0)
            )
            await until(lambda: looks >= 3 * LOOKS and len(cloud.session.all(Infer)) == 1)
            (asked,) = cloud.session.all(Infer)
            assert isinstance(asked, Infer)
            cloud.session.channel.send(answer_to(asked))
            assert (await waiting).answer.frame == 1
            assert heard.downs == []

    run(main())


def test_a_frame_that_takes_longer_than_the_edge_is_late_and_the_line_goes_on() -> None:
    """Its bytes may still be arriving: that is no reason to give up the others."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            with pytest.raises(CloudLateError, match=r"no answer to frame 1 within 0.1 s"):
                await line_.infer(1, 1, ENTRIES, [b"12345"], patience_s=20.0, longest_s=0.05)
            assert line_.available
            assert heard.downs == []
            cloud.on[Infer] = lambda session, event: session.channel.send(answer_to(of(event)))
            assert (await infer(line_, 3)).answer.frame == 3

    run(main())


def test_the_bytes_of_a_frame_that_was_given_up_are_before_the_next_ones() -> None:
    """It took too long, and is not waited for any more: what is left of it on the line is."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            entries, tensor = more_than_fits(cloud)
            with pytest.raises(CloudLateError) as late:
                await line_.infer(1, 1, entries, [tensor], patience_s=20.0, longest_s=0.05)
            assert late.value.progress is not None
            assert late.value.progress.outstanding_bytes > len(tensor) // 2
            ahead = line_.ahead()
            assert ahead is not None
            assert ahead.outstanding_bytes > len(tensor) // 2

    run(main())


def test_a_cloud_that_is_heard_may_be_late_once() -> None:
    """One overdue answer costs its own frame; the next one in a row, and the line is suspected."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            other = asyncio.ensure_future(infer(line_, 9))
            await until(lambda: len(cloud.session.all(Infer)) == 1)
            answered = [of(e) for e in cloud.session.received if isinstance(e.message, Infer)]
            with pytest.raises(CloudLateError, match="no answer to frame 1"):
                await infer(line_, 1, timeout_s=0.2)
            assert heard.downs == []
            cloud.session.channel.send(answer_to(answered[0]))
            assert (await other).answer.frame == 9
            with pytest.raises(CloudLateError, match="no answer to frame 2"):
                await infer(line_, 2, timeout_s=0.2)
            with pytest.raises(LinkLostError, match="no answer to frame 3"):
                await infer(line_, 3, timeout_s=0.2)
            assert len(heard.downs) == 1

    run(main())


def test_a_suspected_line_full_of_unsent_bytes_is_given_up() -> None:
    """Whatever came next would wait behind bytes that nobody needs any more: a new connection is free of them."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            entries, tensor = more_than_fits(cloud)
            frame = 0
            while line_.counts.suspicions == 0:  # a last pong may be heard yet: then it is only late
                frame += 1
                with pytest.raises((LinkLostError, CloudLateError), match=f"no answer to frame {frame}"):
                    await line_.infer(frame, 1, entries, [tensor], patience_s=0.05, longest_s=20.0)
            await until(lambda: len(cloud.sessions) == 2 and line_.available)

    run(main())


def test_an_answer_counts_on_the_connection_its_frame_was_sent_on() -> None:
    """A connection is a session: what was asked on the one before is stale on the next, whatever its number."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[Infer] = lambda session, event: None
            lost = asyncio.ensure_future(infer(line_, 5))
            await until(lambda: len(cloud.session.all(Infer)) == 1)
            (sent,) = [of(e) for e in cloud.session.received if isinstance(e.message, Infer)]
            await cloud.stop()
            with pytest.raises(LinkLostError):
                await lost
            await cloud.start()
            await until(lambda: line_.available)
            again = asyncio.ensure_future(infer(line_, 6))
            await until(lambda: len(cloud.session.all(Infer)) == 1)
            cloud.session.channel.send(answer_to(sent))
            await until(lambda: line_.counts.stale_answers == 1)
            assert not again.done()
            cloud.session.channel.send(answer_to(replace(sent, frame=6)))
            assert (await again).answer.frame == 6

    run(main())


def test_a_silent_cloud_is_suspected_without_any_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unanswered pings are enough: the next frame does not have to find out."""
    monkeypatch.setattr(line, "SILENCE_S", 0.1)

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            cloud.answers_pings = False
            await until(lambda: not line_.available)
            assert "the cloud has been silent" in heard.downs[0]
            cloud.answers_pings = True
            await until(lambda: line_.available)

    run(main())


def test_a_dead_line_is_given_up_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline the old connection is closed, and a new one tried."""
    monkeypatch.setattr(limits, "DEAD_AFTER_S", 0.3)

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            cloud.answers_pings = False
            await until(lambda: len(cloud.sessions) >= 2)
            assert cloud.sessions[0].gone
            cloud.answers_pings = True
            await until(lambda: line_.available)
            assert "silent" in heard.downs[0]

    run(main())


def test_a_draining_cloud_gets_no_new_frames_and_answers_the_old() -> None:
    """On the cloud's word that it is finishing, frames stay here; what it has, it still answers."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            waiting = asyncio.ensure_future(infer(line_))
            await until(lambda: len(cloud.session.all(Infer)) == 1)
            cloud.session.channel.send(Drain(reason="shutting down"))
            await until(lambda: not line_.available)
            assert heard.downs == ["shutting down"]
            with pytest.raises(LinkLostError):
                await infer(line_, 2)
            cloud.session.channel.send(
                answer_to(Infer(frame=1, epoch=1, deadline_ms=0, tensors=())), [b"late"]
            )
            assert bytes((await waiting).payload) == b"late"
            cloud.session.channel.send(Bye(reason="gone"))
            await until(lambda: len(cloud.sessions) == 2 and line_.available)

    run(main())


@pytest.mark.parametrize(
    "message",
    [Welcome(session="2", cloud="", device="", credit=1), Pong(number=99, receive_ms=0, spaced_bytes=0)],
)
def test_a_cloud_that_breaks_the_protocol_is_left_and_tried_anew(message: Welcome | Pong) -> None:
    """Its connection is closed for the reason, and nothing else comes of it."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            transport = cloud.session.channel._transport
            assert transport is not None
            transport.write(packed(message))
            await until(lambda: len(cloud.sessions) == 2 and line_.available)
            assert heard.downs[0] in ("Welcome from the CLOUD in OPEN", "Pong 99 answers no ping")

    run(main())


@pytest.mark.usefixtures("no_collector")
def test_a_frame_that_was_lost_leaves_nothing_for_the_collector() -> None:
    """Its error knows where it was raised, and what was held there: the tensors, megabytes of them."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            tensor = np.zeros(5, np.uint8)
            seen = weakref.ref(tensor)
            asked = asyncio.ensure_future(
                line_.infer(1, 1, ENTRIES, [tensor.data], patience_s=20.0, longest_s=40.0)
            )
            del tensor
            await until(lambda: len(cloud.session.all(Infer)) == 1)
            assert seen() is not None
            cloud.session.channel.abort()
            await asyncio.wait([asked])
            assert isinstance(asked.exception(), LinkLostError)
            del asked
            await until(lambda: seen() is None)

    run(main())


def test_a_frames_progress_is_what_has_arrived_of_it() -> None:
    """While the cloud takes only what fits, most of it is left; then nothing is, though the answer is not there."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[Infer] = lambda session, event: None
            assert line_.progress(1, 1) is None
            entries, tensor = more_than_fits(cloud)
            waiting = asyncio.ensure_future(
                line_.infer(1, 1, entries, [tensor], patience_s=20.0, longest_s=2 * 20.0)
            )
            await until(lambda: (seen := line_.progress(1, 1)) is not None and seen.delivered_bytes > 0)
            progress = line_.progress(1, 1)
            assert progress is not None
            assert progress.outstanding_bytes > len(tensor) // 2
            assert progress.delivered_bytes + progress.outstanding_bytes == pytest.approx(
                len(tensor), rel=1e-3
            )
            assert progress.bps is not None
            transport = cloud.session.channel._transport
            assert transport is not None
            transport.resume_reading()
            await until(lambda: (seen := line_.progress(1, 1)) is not None and seen.outstanding_bytes == 0)
            assert not waiting.done()
            await until(lambda: len(cloud.session.all(Infer)) == 1)
            (sent,) = [of(e) for e in cloud.session.received if isinstance(e.message, Infer)]
            cloud.session.channel.send(answer_to(sent))
            await waiting
            assert line_.progress(1, 1) is None

    run(main())
