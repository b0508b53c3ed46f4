"""Facts about the edge's line to the cloud, against a cloud in the same process on a real socket."""

from __future__ import annotations

import asyncio
import gc
import random
import socket

import pytest

from common.config import Address
from common.errors import (
    ConfigurationError,
    LinkLostError,
    ModelMismatchError,
    ProbeError,
    RemoteProtocolError,
)
from common.profile import ModelFingerprint, Profile, ProfileKey
from common.wire.connection import Received
from common.wire.messages import (
    Ping,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    Refused,
)
from edge_daemon import line
from edge_daemon.uplink import Uplink
from tests.edge_daemon.fake_cloud import (
    DIGEST,
    HELLO,
    WELCOME,
    FakeCloud,
    FakeSession,
    Heard,
    connected,
    hurry,
    infer,
    more_than_fits,
)
from tests.event_loop import run, until

KEY = ProfileKey(ModelFingerprint(DIGEST, DIGEST, DIGEST), "a GPU", "torch", 1, 1.0, "4x3")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


# --- connecting -------------------------------------------------------------------------------------------
def test_a_connection_is_greeted_and_told() -> None:
    """The edge says who it is and which model it holds; the owner hears that the line is up."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            assert cloud.session.received[0].message == HELLO
            assert line_.cloud == WELCOME
            assert (heard.ups, heard.downs, line_.counts.connections) == (1, [], 1)
            assert line_.last_error is None
            assert line_.bytes_up > 0

    run(main())


def test_another_model_is_fatal_and_shows_both_fingerprints() -> None:
    """No retry mends it: the error that ends the daemon says what the cloud said."""
    reason = "edge and cloud hold different models (weights differ). Edge: aaa. Cloud: bbb"

    async def main() -> None:
        cloud = FakeCloud()
        cloud.refusal = Refused(kind="model", reason=reason)
        with pytest.raises(ModelMismatchError) as error:
            async with connected(cloud):
                raise AssertionError("it must not connect")
        assert str(error.value) == reason
        assert len(cloud.sessions) == 1
        await cloud.stop()

    run(main())


def test_a_running_edge_outlives_a_cloud_with_another_model() -> None:
    """A cloud that comes back with another model is not used, and does not end an edge that can go on alone."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            cloud.refusal = Refused(kind="model", reason="weights differ")
            cloud.session.channel.abort()
            await until(lambda: len(cloud.sessions) >= 4)
            assert not line_.available
            assert line_.last_error == "weights differ"
            cloud.refusal = None
            await until(lambda: line_.available)
            assert heard.ups == 2

    run(main())


def test_another_protocol_is_fatal_too() -> None:
    """The operator must bring both sides to one version."""

    async def main() -> None:
        cloud = FakeCloud()
        cloud.refusal = Refused(kind="protocol", reason="the edge speaks protocol 1, this cloud 2")
        with pytest.raises(ConfigurationError, match="protocol 1, this cloud 2"):
            async with connected(cloud):
                raise AssertionError("it must not connect")
        await cloud.stop()

    run(main())


def test_a_busy_cloud_is_tried_again() -> None:
    """Being full is no fault of the operator's: the edge comes back until it is taken."""

    async def main() -> None:
        cloud, heard = FakeCloud(), Heard()
        cloud.refusal = Refused(kind="busy", reason="no room")
        await cloud.start()
        line_ = Uplink(cloud.address, HELLO, heard.events)
        task = asyncio.create_task(line_.run())
        await until(lambda: len(cloud.sessions) >= 3)
        assert line_.last_error == "no room"
        assert not line_.available
        cloud.refusal = None
        await until(lambda: line_.available)
        assert heard.downs == [], "what was never up does not go down"
        task.cancel()
        await asyncio.wait([task])
        await cloud.stop()

    run(main())


def test_a_cloud_that_is_not_there_is_waited_for() -> None:
    """The edge starts first, says once why there is no connection, and connects when the cloud comes."""

    async def main() -> None:
        cloud, heard = FakeCloud(), Heard()
        await cloud.start()
        await cloud.stop()  # now its address is known, and nobody listens there
        line_ = Uplink(cloud.address, HELLO, heard.events)
        task = asyncio.create_task(line_.run())
        await until(lambda: line_.last_error is not None)
        with pytest.raises(LinkLostError, match="no connection"):
            await infer(line_)
        assert line_.cloud is None
        await cloud.start()
        await until(lambda: line_.available)
        task.cancel()
        await asyncio.wait([task])
        await cloud.stop()

    run(main())


def test_the_line_comes_back_when_the_cloud_does() -> None:
    """A cloud that is killed and started again is found again, as a new session; the owner hears both."""

    async def main() -> None:
        async with connected() as (cloud, line_, heard):
            await cloud.stop()
            await until(lambda: not line_.available)
            await until(lambda: len(heard.downs) == 1)
            await cloud.start()
            await until(lambda: line_.available)
            assert heard.ups == 2
            assert line_.counts.connections == 2

    run(main())


def test_who_waits_is_told_when_the_line_goes() -> None:
    """Frames, plans, profiles, turns and pings: nobody waits for an answer that cannot come."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[Prepare] = lambda session, event: None
            cloud.on[Ping] = lambda session, event: None
            waiting = [
                asyncio.ensure_future(work)
                for work in (
                    infer(line_, 1),
                    infer(line_, 2),
                    line_.prepare(Prepare(epoch=1, units=(), inputs=(), outputs=())),
                    line_.profile(b"frame"),
                    line_.probe_turn(),
                    line_.probe_by_ping(),
                )
            ]
            await until(lambda: len(cloud.session.all(ProbeRequest)) == 1)
            cloud.session.channel.abort()
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, LinkLostError)

    run(main())


def test_an_upload_that_waits_for_room_is_told_too() -> None:
    """A frame that could not even be handed over, because the line is full, does not wait out its patience."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            entries, tensor = more_than_fits(cloud)
            first = asyncio.ensure_future(
                line_.infer(1, 1, entries, [tensor], patience_s=20.0, longest_s=2 * 20.0)
            )
            await until(lambda: line_.bytes_up > len(tensor))
            second = asyncio.ensure_future(infer(line_, 2))
            await asyncio.sleep(0)
            assert line_._line is not None
            line_._line.suspect("a test says so")
            for waiting in (first, second):
                with pytest.raises(LinkLostError, match="a test says so"):
                    await waiting

    run(main())


# --- plans, profiles, probes ------------------------------------------------------------------------------
def test_a_plan_is_prepared_or_refused_with_a_reason() -> None:
    """Either way the cloud's word comes back, matched by epoch."""

    def reply(session: FakeSession, event: Received) -> None:
        assert isinstance(event.message, Prepare)
        epoch = event.message.epoch
        session.channel.send(Prepared(epoch=epoch + 1, ready=True, reason="", prepare_ms=0))  # for nobody
        session.channel.send(Prepared(epoch=epoch, ready=False, reason="no such unit", prepare_ms=0))

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            request = Prepare(epoch=5, units=(1,), inputs=(0,), outputs=((1, "answer"),))
            assert (await line_.prepare(request)).ready
            assert cloud.session.all(Prepare) == [request]
            cloud.on[Prepare] = reply
            assert (await line_.prepare(request)).reason == "no such unit"

    run(main())


@pytest.mark.parametrize(
    "payload", [b"", b"nonsense", b"[]", b'{"format": 99}', b"\xff", Profile(KEY, {}).to_json().encode()[:-3]]
)
def test_a_profile_that_is_none_is_the_clouds_error(payload: bytes) -> None:
    """What comes instead of a profile breaks the protocol, and says so."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[ProfileRequest] = lambda session, event: session.channel.send(ProfileReply(), [payload])
            with pytest.raises(RemoteProtocolError, match="no valid profile"):
                await line_.profile(b"frame")

    run(main())


def test_a_profile_is_asked_for_with_a_frame() -> None:
    """The cloud measures with what the edge will send; a frame longer than a read arrives whole."""
    profile = Profile(KEY, {"conv": 1.25})
    frame = random.Random(0).randbytes(100_000)

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[ProfileRequest] = lambda session, event: session.channel.send(
                ProfileReply(), [profile.to_json().encode()]
            )
            assert await line_.profile(frame) == profile
            assert bytes(cloud.session.received[-1].payload) == frame

    run(main())


def test_a_turn_to_probe_is_granted_or_denied() -> None:
    """A grant says where; a denial is a probe that did not come off, with the cloud's reason."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            grant = ProbeGrant(port=5201, seconds=4.0)
            cloud.on[ProbeRequest] = lambda session, event: session.channel.send(grant)
            assert await line_.probe_turn() == grant
            cloud.on[ProbeRequest] = lambda session, event: session.channel.send(
                ProbeDenied(reason="another edge is measuring now")
            )
            with pytest.raises(ProbeError, match="no turn: another edge"):
                await line_.probe_turn()

    run(main())


def test_an_answer_that_never_comes_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is no frame has a deadline too, and its late answer reaches nobody."""
    monkeypatch.setattr(line, "ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(line.Line.ask, "__defaults__", ((), 0.05))

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            cloud.on[Prepare] = lambda session, event: None
            with pytest.raises(LinkLostError, match=r"no answer to Prepare within 0.05 s"):
                await line_.prepare(Prepare(epoch=1, units=(), inputs=(), outputs=()))
            cloud.session.channel.send(Prepared(epoch=1, ready=True, reason="", prepare_ms=0))
            cloud.on[Prepare] = lambda session, event: session.say_ready(event)
            assert (await line_.prepare(Prepare(epoch=2, units=(), inputs=(), outputs=()))).epoch == 2

    run(main())


def test_a_name_that_nobody_has_is_tried_again() -> None:
    """A host that does not exist is one more reason to try again later, not an end. (This one asks no server.)"""

    async def main() -> None:
        line_ = Uplink(Address(host="no such host", port=1), HELLO, Heard().events)
        task = asyncio.create_task(line_.run())
        await until(lambda: line_.last_error is not None or task.done())
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])

    run(main())


def test_an_edge_that_ends_while_it_looks_for_the_cloud_leaves_nothing_behind() -> None:
    """Cancelled at any moment of resolving a name, no error is left that the loop complains of."""

    async def main() -> None:
        for attempt in range(60):
            line_ = Uplink(Address(host="no such host", port=1), HELLO, Heard().events)
            task = asyncio.create_task(line_.run())
            for _ in range(attempt):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        gc.collect()
        await asyncio.to_thread(gc.collect)  # what is still being resolved ends meanwhile

    run(main())


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may stand for several addresses, of which the cloud listens on one."""

    async def main() -> None:
        async with connected() as (cloud, line_, _):
            good, bad = (
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
                for port in (cloud.address.port, 1)
            )

            async def addresses(*_: object, **__: object) -> list[object]:
                return [bad, good]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
            cloud.session.channel.abort()
            await until(lambda: len(cloud.sessions) == 2 and line_.available)

    run(main(), "asyncio")
