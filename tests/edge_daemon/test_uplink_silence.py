"""Facts about a line that falls silent: another connection is tried beside it, and what speaks first is used."""

from __future__ import annotations

import pytest

from common import limits
from common.wire.messages import Infer
from edge_daemon import line
from tests.edge_daemon.fake_cloud import FakeCloud, answer_to, connected, hurry, infer, of
from tests.event_loop import run, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(line, "SILENCE_S", 0.2)
    monkeypatch.setattr(limits, "DEAD_AFTER_S", 1000.0)


def fall_silent(cloud: FakeCloud) -> None:
    """Leave the present connection half-open: what is sent on it is lost, and nobody is told."""
    transport = cloud.session.channel._transport
    assert transport is not None
    transport.pause_reading()


def test_a_half_open_connection_is_replaced_before_it_is_given_up() -> None:
    """A network that has lost a connection takes a new one: frames do not wait for the old one's deadline."""

    async def main() -> None:
        async with connected() as (cloud, uplink, heard):
            fall_silent(cloud)
            await until(lambda: uplink.counts.connections == 2 and uplink.available)
            assert heard.ups == 2
            assert "silent" in heard.downs[0]
            cloud.on[Infer] = lambda session, event: session.channel.send(answer_to(of(event)))
            assert (await infer(uplink)).answer.frame == 1

    run(main())


def test_a_silent_line_that_is_heard_again_first_is_used_on() -> None:
    """No connection is made anew where the old one was only held up, and no attempt is left behind."""

    async def main() -> None:
        async with connected() as (cloud, uplink, heard):
            assert cloud._server is not None
            cloud._server.close()  # no new connection, and the old one stays
            cloud.answers_pings = False
            await until(lambda: uplink.last_error is not None)  # an attempt beside it has failed
            assert not uplink.available
            cloud.answers_pings = True
            await until(lambda: uplink.available)
            assert (heard.ups, uplink.counts.connections) == (2, 1)
            assert uplink.last_error is None

    run(main())


def test_a_silent_line_that_breaks_leaves_the_attempts_going() -> None:
    """Its end is told; the cloud is found again when it is there again."""

    async def main() -> None:
        async with connected() as (cloud, uplink, heard):
            cloud.answers_pings = False
            await until(lambda: not uplink.available)
            await cloud.stop()
            await until(lambda: uplink.cloud is None)
            cloud.answers_pings = True
            await cloud.start()
            await until(lambda: uplink.available)
            assert heard.ups >= 2

    run(main())
