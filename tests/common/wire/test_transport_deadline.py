"""Facts about the kernel's own deadline on a channel's socket, and about a socket that is gone already."""

from __future__ import annotations

import socket

import pytest

from common import limits
from common.wire import transport
from common.wire.messages import Bye, ProfileRequest
from tests.common.wire.test_transport import Cloud, Run, connect, serving
from tests.event_loop import LOOPS
from tests.event_loop import run as run_under

linux_only = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system does not have it")


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return lambda main: run_under(main, request.param)


@linux_only
def test_the_kernel_has_a_deadline_of_its_own(run: Run) -> None:
    """Both ends have it, in milliseconds, and it does not come before the protocol's own judgement."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            for side in (edge, far):
                assert side.channel._transport is not None
                sock = side.channel._transport.get_extra_info("socket")
                told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                assert told == limits.TCP_USER_TIMEOUT_S * 1000
            edge.channel.abort()
        assert limits.TCP_USER_TIMEOUT_S > limits.DEAD_AFTER_S + transport.TICK_S

    run(main())


@linux_only
def test_a_farewell_that_nobody_takes_holds_its_socket_no_longer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits for what is unsent. The protocol's deadlines have ended by then; the kernel's has not."""
    monkeypatch.setattr(limits, "TCP_USER_TIMEOUT_S", 0.3)

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, far = await connect(cloud)
            assert far.channel._transport is not None
            far.channel._transport.pause_reading()
            edge.channel.send(ProfileRequest(), [bytes(30_000_000)])
            edge.channel.send(Bye(reason="leaving"))
            assert edge.channel.unsent_bytes
            await edge.channel.done
            far.channel.abort()

    run(main())


def test_a_system_without_that_deadline_does_without(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Linux' own."""
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, _ = await connect(cloud)
            assert edge.channel.is_open
            edge.channel.abort()

    run(main())


def test_a_socket_that_is_closed_already_has_nothing_outstanding(run: Run) -> None:
    """Between the loop's closing it and telling so, what is outstanding may be looked at once more."""

    async def main() -> None:
        async with serving(Cloud()) as cloud:
            edge, _ = await connect(cloud)
            assert edge.channel._transport is not None
            edge.channel.abort()
            await edge.channel.done
            assert edge.channel.outstanding_bytes == 0
            edge.channel._tick()
            assert edge.channel._timer is not None
            edge.channel._timer.cancel()

    run(main())
