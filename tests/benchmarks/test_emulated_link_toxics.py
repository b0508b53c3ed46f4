"""Facts about an emulated link that does a connection harm."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape, obey
from tests.event_loop import run, until

pytestmark = pytest.mark.alone


def test_a_connection_that_has_sent_its_limit_breaks_on_both_sides() -> None:
    """What came before the limit arrives; then there is a reset, and the next connection has its own limit."""
    received: list[int] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        total = 0
        try:
            while data := await reader.read(4096):
                total += len(data)
        except ConnectionResetError:
            received.append(total)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
            target = server.sockets[0].getsockname()[:2]
            forward = Forward(listen=("127.0.0.1", 0), target=target)
            async with EmulatedLink([forward], LinkShape(limit_bytes=1000)) as link:
                for number in (1, 2):
                    reader, writer = await asyncio.open_connection(*link.addresses[0])
                    writer.write(bytes(900))
                    await writer.drain()
                    writer.write(bytes(900))
                    with pytest.raises(ConnectionResetError):
                        await reader.readexactly(1)
                    writer.close()
                    await until(lambda: len(received) == number)  # noqa: B023 (awaited at once)
        assert all(900 <= total <= 1800 for total in received)

    run(main(), loop="asyncio")


def test_orders_in_the_words_of_toxiproxy() -> None:
    """Each is answered with what the link does now; 0 takes one away."""
    link = EmulatedLink([Forward(listen=("127.0.0.1", 0), target=("127.0.0.1", 9))])
    assert obey(link, "jitter 5ms") == "unlimited, 0 ms each way, 5 ms of jitter"
    assert obey(link, "slice 10").endswith("10 bytes each 1 ms")
    assert obey(link, "limit 2000").endswith("breaks after 2000 bytes")
    for order in ("jitter 0", "slice 0", "limit 0"):
        obey(link, order)
    assert obey(link, "slow-close 500") == "unlimited, 0 ms each way, closes 500 ms late"
    with pytest.raises(ValueError, match="slice"):
        obey(link, "slice -3")
