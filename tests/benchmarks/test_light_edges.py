"""Light edges at a real server in the test's own loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.bench_many import drive
from benchmarks.light_edges import LightEdge
from common.errors import LinkLostError
from models.crossing import to_wire
from tests.cloud_daemon.edge import GRAPH, MODEL, SPLIT, Blocked, Cloud, cloud, crossing
from tests.event_loop import run, until
from tests.tiny_model import jpeg


async def light_edge(rack: Cloud, name: str) -> LightEdge:
    edge = LightEdge(*to_wire(GRAPH, crossing(SPLIT, jpeg())))
    await edge.connect(rack.address.host, rack.address.port)
    await edge.ready(MODEL, name, SPLIT)
    return edge


async def leave(*edges: LightEdge) -> None:
    for edge in edges:
        edge.channel.abort()
    await asyncio.wait([edge.channel.done for edge in edges])


def test_edges_are_answered_in_a_closed_loop(tmp_path: Path) -> None:
    """Each has its answers while it is counted, and nothing on its way afterwards."""

    async def scene() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await light_edge(rack, f"edge {number}") for number in range(2)]
            took_s, counted = await drive(edges, seconds=0.3, settle_s=0.1, in_flight=2)
            assert took_s > 0.25
            assert all(counts.answers > 0 and counts.failed == 0 for counts in counted)
            assert all(edge.idle and edge.lost is None for edge in edges)
            await leave(*edges)

    run(scene())


def test_what_was_on_its_way_when_the_connection_ended_has_failed(tmp_path: Path) -> None:
    """Nobody waits for it any more, and nothing is sent after it."""

    async def scene() -> None:
        async with cloud(tmp_path) as rack:
            edge = await light_edge(rack, "edge")
            async with Blocked(rack):
                edge.begin(2)
                assert not edge.idle
                await leave(edge)
                assert edge.idle
                assert edge.counts.failed == 2
                assert edge.lost is not None

    run(scene())


def test_a_dropped_connection_ends_the_round_with_an_error(tmp_path: Path) -> None:
    """It says how many edges lost the cloud; the round does not wait for their frames for ever."""

    async def scene() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await light_edge(rack, f"edge {number}") for number in range(2)]
            round_ = asyncio.ensure_future(drive(edges, seconds=0.4, settle_s=0.1, in_flight=2))
            await until(lambda: all(edge.counts.answers for edge in edges))
            edges[0].channel.abort()
            with pytest.raises(LinkLostError, match="1 of 2 edges lost the cloud: "):
                await round_
            await leave(*edges)

    run(scene())
