"""Facts about what an edge asks of its session beside frames: plans, profiles, pings, turns to measure."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from cloud_daemon import session_requests as module
from common import limits
from common.errors import ProbeError
from common.plan import Cut
from common.profile import Profile
from common.wire.messages import (
    Answer,
    Bye,
    Drain,
    Failed,
    MeasureReply,
    MeasureRequest,
    Message,
    Ping,
    Pong,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
)
from models.batch import BatchSegment
from models.profiler import ProfileRun
from tests.cloud_daemon.edge import GRAPH, MODEL, SPLIT, Blocked, Edge, cloud, crossing, measure, prepare
from tests.event_loop import run, until
from tests.tiny_model import jpeg


# --- plans, profiles, pings -------------------------------------------------------------------------------
def bad_plans() -> dict[str, Prepare]:
    good = prepare(SPLIT, 1).header() | {"epoch": 1}
    index = GRAPH.index

    def plan(**changes: Any) -> Prepare:
        return Prepare(**{**good, **changes})

    return {
        "unit 4000 is not in the graph": plan(units=(4000,)),
        "is not among the units of its segment": plan(outputs=((index["first"], "answer"),)),
        "the plan sends": plan(inputs=(index["first"],)),
        "the plan sends ('first', 'second', 'third')": plan(
            inputs=(index["first"], index["second"], index["third"])
        ),
        "the stage reads": plan(units=(index["classify"], index["answer"])),
    }


@pytest.mark.parametrize("reason", bad_plans())
def test_a_plan_that_cannot_be_is_refused_with_its_reason(tmp_path: Path, reason: str) -> None:
    """The edge keeps its old plan; the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(bad_plans()[reason])
            prepared = await edge.hears(Prepared)
            assert (prepared.epoch, prepared.ready) == (1, False)
            assert reason in prepared.reason
            edge.infers(1, crossing(SPLIT, jpeg()))
            assert (await edge.hears(Failed)).reason == "epoch 1 is not prepared here"
            assert (await edge.prepares()).ready

    run(main())


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory\nline two"), MemoryError()])
def test_a_plan_that_the_machine_cannot_prepare_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """No memory for it, say: what is prepared already goes on, and so does the connection."""

    def fail(*_: object) -> None:
        raise error

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            await edge.prepares()
            with monkeypatch.context() as patched:
                patched.setattr(BatchSegment, "warm", fail)
                patched.setattr(rack.pool._measured, "prepare", fail)
                edge.say(prepare(Cut.cloud_only(GRAPH), 2))
                refused = await edge.hears(Prepared)
                assert (refused.epoch, refused.ready) == (2, False)
                assert type(error).__name__ in refused.reason
                edge.say(measure(SPLIT))
                unmeasured = await edge.hears(MeasureReply)
                assert not unmeasured.measured
                assert type(error).__name__ in unmeasured.reason
            edge.infers(1, crossing(SPLIT, jpeg()))
            await edge.answer()

    run(main())


@pytest.mark.parametrize(("units", "outputs"), [((), ()), ((4,), ()), ((), ((9, "answer"),))])
def test_an_empty_plan_is_refused(tmp_path: Path, units: Any, outputs: Any) -> None:
    """A stage of nothing, or one that hands nothing on, is none; the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(Prepare(epoch=1, units=units, inputs=(), outputs=outputs))
            assert not (await edge.hears(Prepared)).ready
            assert (await edge.prepares(epoch=2)).ready

    run(main())


def test_edges_that_ask_together_share_one_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile takes a while, and measuring twice at a time would spoil both; later it is on disk."""
    runs: list[ProfileRun] = []
    step = ProfileRun.step

    def counted(self: ProfileRun) -> bool:
        if self.done_steps == 0:
            runs.append(self)
        return step(self)

    monkeypatch.setattr(ProfileRun, "step", counted)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await rack.greeted() for _ in range(2)]
            async with Blocked(rack):
                for edge in edges:
                    edge.say(ProfileRequest(), jpeg())
                await until(lambda: rack.pool.compute.waiting > 0)
            profiles = [Profile.from_json(bytes((await edge.event(ProfileReply)).payload)) for edge in edges]
            assert profiles[0] == profiles[1]
            assert set(profiles[0].unit_ms) == set(GRAPH.names)
            assert profiles[0].key.fingerprint == MODEL.fingerprint
            assert len(runs) == 1
            edges[0].say(ProfileRequest(), jpeg(7))  # of the same size
            assert Profile.from_json(bytes((await edges[0].event(ProfileReply)).payload)) == profiles[0]
            assert len(runs) == 1

    run(main())


def test_a_measurement_outlives_the_edge_that_asked(tmp_path: Path) -> None:
    """It is saved for the edge's return."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            async with Blocked(rack):
                edge.say(ProfileRequest(), jpeg())
                await until(lambda: rack.pool.compute.waiting > 0)
                edge.channel.abort()
                await until(lambda: not rack.server.sessions)
            await until(lambda: any(tmp_path.iterdir()))

    run(main())


@pytest.mark.parametrize(
    "frame", [b"", b"no image", jpeg(0, (640, 480))[:4000]], ids=["empty", "text", "torn"]
)
def test_a_frame_that_is_no_image_is_replaced_to_measure_with(tmp_path: Path, frame: bytes) -> None:
    """The edge's first file may be anything; it gets a profile for a usual frame, and keeps its connection."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(ProfileRequest(), frame)
            profile = Profile.from_json(bytes((await edge.event(ProfileReply)).payload))
            assert profile.key.frame == "1280x720"

    run(main())


def test_a_profile_that_cannot_be_saved_is_still_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full or foreign disk costs a measurement at the next start, not the edge its planning."""
    (tmp_path / "file").touch()

    async def main() -> None:
        async with cloud(tmp_path / "file") as rack:
            edge = await rack.greeted()
            edge.say(ProfileRequest(), jpeg())
            assert Profile.from_json(bytes((await edge.event(ProfileReply)).payload)).total_ms > 0
            assert "cannot save the profile" in capsys.readouterr().out

    run(main())


def test_a_ping_is_answered_with_how_it_arrived(tmp_path: Path) -> None:
    """The number comes back; a payload's arrival tells the bandwidth."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(Ping(number=41))
            assert await edge.hears(Pong) == Pong(number=41, receive_ms=0.0, spaced_bytes=0)
            edge.say(Ping(number=42), bytes(1_000_000))
            pong = await edge.hears(Pong)
            assert pong.number == 42
            assert 0 < pong.spaced_bytes <= 1_000_000
            assert pong.receive_ms > 0

    run(main())


@pytest.mark.parametrize("message", [Drain(reason="going"), Pong(number=1, receive_ms=0, spaced_bytes=0)])
def test_what_needs_no_answer_gets_none(tmp_path: Path, message: Message) -> None:
    """A draining edge may still ask, and is answered."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(message)
            edge.say(Ping(number=1))
            await edge.hears(Pong)

    run(main())


def test_a_bye_ends_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An edge that says goodbye is gone, and that is no warning."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(Bye(reason="stopping"))
            assert await edge.ended is None
            await until(lambda: not rack.server.sessions)
            said = capsys.readouterr().out
            assert "edge gone" in said
            assert "warning" not in said

    run(main())


def test_an_edge_may_ask_for_a_few_things_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that asks for plan upon plan without waiting is closed; an honest one beside it is served."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good, bad = await rack.greeted(), await rack.greeted(edge="garden")
            async with Blocked(rack):
                good.say(prepare(SPLIT, 1))
                for epoch in range(limits.MAX_REQUESTS):
                    bad.say(prepare(SPLIT, epoch))
                bad.say(Ping(number=1))
                await bad.hears(Pong)
                bad.say(prepare(SPLIT, 9))
                await bad.ended
            assert (await good.hears(Prepared)).ready
            assert f"more than {limits.MAX_REQUESTS} requests at a time" in capsys.readouterr().out
            for epoch in range(2 * limits.MAX_REQUESTS):  # one after another there is no end to them
                assert (await good.prepares(SPLIT, epoch)).ready

    run(main())


def test_an_edge_that_stops_reading_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it leaves unread is held for it only so far."""
    monkeypatch.setattr(limits, "MAX_UNSENT_BYTES", 100_000)
    monkeypatch.setattr(limits, "DEAD_AFTER_S", 100.0)  # or this edge, which hears nothing, closes first

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            (session,) = rack.server.sessions
            assert edge.channel._transport is not None
            edge.channel._transport.pause_reading()
            number = 0
            while rack.server.sessions and number < 2_000_000:
                for _ in range(500):
                    number += 1
                    edge.say(Ping(number=number))
                await asyncio.sleep(0)
            assert session.channel.connection.state.name == "CLOSED"
            edge.channel._transport.resume_reading()
            await edge.ended

    run(main())


# --- turns on the iperf3 server ---------------------------------------------------------------------------
def test_a_turn_that_cannot_be_given_is_denied_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edge measures in another way then; its connection lives."""

    @contextlib.asynccontextmanager
    async def none(peer: str) -> Any:
        raise ProbeError("the cloud has no iperf3")
        yield

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            monkeypatch.setattr(rack.server.turns, "turn", none)
            edge = await rack.greeted()
            edge.say(ProbeRequest())
            assert (await edge.hears(ProbeDenied)).reason == "the cloud has no iperf3"
            edge.say(Ping(number=1))
            await edge.hears(Pong)

    run(main())


def test_a_turn_ends_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge that got a turn and does not use it holds it no longer than it may."""
    monkeypatch.setattr(module, "TURN_S", 0.05)
    turns: list[str] = []

    class Endless:
        async def wait(self) -> None:
            await asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def turn(peer: str) -> Any:
        assert peer == "127.0.0.1"
        turns.append("begun")
        yield Endless()
        turns.append("never")

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            monkeypatch.setattr(rack.server.turns, "turn", turn)
            edge = await rack.greeted()
            edge.say(ProbeRequest())
            await edge.event(ProbeGrant)
            (session,) = rack.server.sessions
            await until(lambda: not session._asked_for.running)
            assert turns == ["begun"]
            edge.say(Ping(number=1))
            await edge.hears(Pong)

    run(main())


# --- garbage ----------------------------------------------------------------------------------------------
def test_a_megabyte_of_garbage_harms_nobody_else(tmp_path: Path) -> None:
    """Before or after a greeting, its connection is closed; the session beside it is answered all along."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good = await rack.greeted()
            await good.prepares()
            garbage = random.Random(0).randbytes(1_000_000)
            for greeted in (False, True):
                bad: Edge = await (rack.greeted() if greeted else rack.connect())
                assert bad.channel._transport is not None
                bad.channel._transport.write(garbage)
                await bad.ended
                good.infers(1, crossing(SPLIT, jpeg()))
                answer, _ = await good.answer()
                assert type(answer) is Answer
            await until(lambda: len(rack.server.sessions) == 1)

    run(main())


# --- segments -------------------------------------------------------------------------------------------
def test_a_stage_is_measured_beside_the_whole_model(tmp_path: Path) -> None:
    """Both times come back, and nothing is prepared by that: no epoch is known for it."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(measure(SPLIT, number=7))
            reply = await edge.hears(MeasureReply)
            assert reply.number == 7
            assert reply.measured
            assert reply.reason == ""
            assert reply.stage_ms > 0
            assert reply.whole_ms > 0
            edge.infers(1, crossing(SPLIT, jpeg()))
            assert "epoch 1 is not prepared" in (await edge.hears(Failed)).reason

    run(main())


def test_a_stage_that_cannot_be_is_not_measured(tmp_path: Path) -> None:
    """The reason is told, and the connection lives."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(MeasureRequest(number=1, units=(4000,), inputs=(), outputs=((4000, "answer"),)))
            reply = await edge.hears(MeasureReply)
            assert not reply.measured
            assert "unit 4000 is not in the graph" in reply.reason
            edge.say(measure(SPLIT))
            assert (await edge.hears(MeasureReply)).measured

    run(main())


def test_a_stage_that_reads_what_depends_on_the_frames_size_is_not_measured(tmp_path: Path) -> None:
    """A sample of another size would tell another time."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge = await rack.greeted()
            edge.say(measure(Cut.cloud_only(GRAPH)))
            reply = await edge.hears(MeasureReply)
            assert not reply.measured
            assert "depends on the size of 'frame'" in reply.reason

    run(main())
