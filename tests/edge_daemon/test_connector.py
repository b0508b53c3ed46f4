"""Facts about opening a line to the cloud."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from common import limits
from common.config import Address
from edge_daemon.line import UplinkEvents
from edge_daemon.uplink import Uplink
from tests.edge_daemon.fake_cloud import HELLO, FakeCloud
from tests.event_loop import run, until


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """An address at which a connection is neither made nor refused: its queue is full."""
    with (
        socket.create_server(("127.0.0.2", 0), backlog=0) as full,
        socket.socket() as first,
        socket.socket() as more,
    ):
        for waiting in (first, more):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()


def test_a_host_is_reached_by_its_second_address(
    monkeypatch: pytest.MonkeyPatch, nobody: tuple[str, int]
) -> None:
    """The first one swallows what is sent to it, as an IPv6 address without a route does."""
    monkeypatch.setattr(limits, "CONNECT_TIMEOUT_S", 0.4)

    async def main() -> None:
        cloud = FakeCloud()
        await cloud.start()
        loop = asyncio.get_running_loop()
        there = (cloud.address.host, cloud.address.port)

        class Loop:
            """The loop, but for a name that has two addresses."""

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

            async def getaddrinfo(self, *_: object, **__: object) -> list[tuple[Any, ...]]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (nobody, there)]

        monkeypatch.setattr("edge_daemon.connector.asyncio.get_running_loop", Loop)
        up = asyncio.Event()
        events = UplinkEvents(
            up=up.set,
            down=lambda _: None,
            measured=lambda _: None,
            round_trip=lambda _: None,
            waited=lambda _: None,
        )
        task = asyncio.create_task(Uplink(Address(host="cloud.example", port=1), HELLO, events).run())
        await up.wait()
        await until(lambda: len(cloud.sessions) == 1)
        task.cancel()
        await asyncio.wait([task])
        await cloud.stop()

    run(main())
