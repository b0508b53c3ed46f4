"""Facts about the rank of preparing: as urgent as it may be, as long as it takes little time."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from cloud_daemon import prepare_rank as module
from cloud_daemon.prepare_rank import SHARE_S, WITHIN_S, PrepareRank, PrepareRanks
from common.plan import Cut
from common.wire.messages import Answer, MeasureReply, Ping, Pong, Prepared
from models.batch import BatchSegment
from models.compute import Patience
from models.executor import CompiledSegment, TorchExecutor
from models.segment import Segment
from tests.cloud_daemon.edge import GRAPH, SPLIT, Blocked, Cloud, cloud, crossing, measure, prepare
from tests.event_loop import run, until
from tests.tiny_model import jpeg


def test_preparing_goes_first_until_it_has_had_its_share() -> None:
    """Whether in one piece or in several; and goes first again when that is long ago."""
    rank = PrepareRank()
    assert rank.patience(100.0) is Patience.PREPARE
    rank.note(100.0, 0.6 * SHARE_S)
    assert rank.patience(100.1) is Patience.PREPARE
    rank.note(101.0, 0.6 * SHARE_S)
    assert rank.patience(101.0) is Patience.MEASURE
    assert rank.patience(99.9 + WITHIN_S) is Patience.MEASURE
    assert rank.patience(100.0 + WITHIN_S) is Patience.PREPARE


def test_what_fails_took_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that cannot be prepared cost as much as others."""
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def fail() -> None:
        clock[0] += SHARE_S
        raise MemoryError

    ranks = PrepareRanks()
    with pytest.raises(MemoryError):
        ranks.timed("porch", fail)
    assert ranks.patience("porch", clock[0]) is Patience.MEASURE
    assert ranks.patience("garden", clock[0]) is Patience.PREPARE


def test_edges_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """When what they prepared counts no more; and of ever more names, the one that prepared longest ago."""
    ranks = PrepareRanks()
    ranks.note("a", 100.0, SHARE_S)
    ranks.note("b", 101.0, SHARE_S)
    ranks.note("a", 102.0, SHARE_S)
    ranks.note("c", 101.0 + WITHIN_S, SHARE_S)
    assert len(ranks) == 2, "a, which prepared again, and c"
    monkeypatch.setattr(module, "MOST_EDGES", 2)
    ranks.note("d", 101.0 + WITHIN_S, SHARE_S)
    assert len(ranks) == 2
    told = {edge: ranks.patience(edge, 101.0 + WITHIN_S) for edge in "abcd"}
    assert [edge for edge, patience in told.items() if patience is Patience.MEASURE] == ["c", "d"]


def test_an_edge_that_has_prepared_little_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next stage is made before the frames of others, where none is made beside them (on CUDA)."""
    order: list[str] = []

    async def main() -> None:
        async with cloud(tmp_path, executor=Slow(anywhere=False)) as rack:
            good, other = await rack.greeted(edge="good"), await rack.greeted(edge="other")
            await good.prepares(SPLIT)
            has_prepared(rack, "other", 0.9 * SHARE_S)
            for kind, name in ((BatchSegment, "run"), (BatchSegment, "warm")):
                method = getattr(kind, name)

                def noted(*arguments: Any, name: str = name, method: Any = method) -> Any:
                    order.append(name)
                    return method(*arguments)

                monkeypatch.setattr(kind, name, noted)
            async with Blocked(rack):
                before = rack.pool.compute.waiting
                good.infers(1, crossing(SPLIT, jpeg()))
                await until(lambda: rack.server.frames_here == 1)
                other.say(prepare(Cut.cloud_only(GRAPH), 1))
                await until(lambda: rack.pool.compute.waiting >= before + 2)
            await good.event(Answer)
            assert (await other.hears(Prepared)).ready
            assert order == ["warm", "run"]

    run(main())


class Slow(TorchExecutor):
    """Compiles when it may, and notes on which thread."""

    def __init__(self, *, anywhere: bool = True) -> None:
        super().__init__()
        self.compiles_anywhere = anywhere
        self.begun, self.may = threading.Event(), threading.Event()
        self.may.set()
        self.threads_used: list[str] = []

    def compile(self, segment: Segment) -> CompiledSegment:
        self.threads_used.append(threading.current_thread().name)
        self.begun.set()
        assert self.may.wait(20.0)
        return super().compile(segment)


def has_prepared(rack: Cloud, edge: str, took_s: float) -> None:
    """Have it noted that an edge prepared for so long, lately: however long this test takes."""
    rack.server.ranks._ranks[edge] = PrepareRank()
    rack.server.ranks._ranks[edge].note(math.inf, took_s)


@pytest.mark.parametrize(
    ("measures", "took_s", "thread"),
    [(False, 0.0, "stages"), (False, SHARE_S, "stages behind"), (True, 0.0, "stages behind")],
)
def test_frames_do_not_wait_for_stages(tmp_path: Path, measures: bool, took_s: float, thread: str) -> None:
    """They are made beside them: with much of a network's weights it takes seconds. Those of an edge that has
    prepared much, and what is to be measured, on the thread that gives way."""

    async def main() -> None:
        executor = Slow()
        async with cloud(tmp_path, executor=executor) as rack:
            good, other = await rack.greeted(edge="good"), await rack.greeted(edge="other")
            await good.prepares(SPLIT)
            has_prepared(rack, "other", took_s)
            executor.threads_used.clear()
            executor.begun.clear()
            executor.may.clear()
            cut = Cut.of(GRAPH, GRAPH.names[:4])
            other.say(measure(cut) if measures else prepare(cut, 1))
            await asyncio.to_thread(executor.begun.wait)
            good.infers(1, crossing(SPLIT, jpeg()))
            await good.event(Answer)
            executor.may.set()
            if measures:
                assert (await other.hears(MeasureReply)).measured
            else:
                assert (await other.hears(Prepared)).ready
            assert set(executor.threads_used) == {thread}

    run(main())


def test_an_edge_that_connects_anew_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it prepared counts on its next connection, as on its others; another edge is not concerned."""
    asked: list[tuple[str, Patience]] = []
    patience = PrepareRanks.patience

    def noted(self: PrepareRanks, edge: str, now: float) -> Patience:
        asked.append((edge, patience(self, edge, now)))
        return asked[-1][1]

    monkeypatch.setattr(PrepareRanks, "patience", noted)
    monkeypatch.setattr(module, "SHARE_S", 0.0)  # whatever it prepares is more
    monkeypatch.setattr(module, "WITHIN_S", 1e6)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            first = await rack.greeted(edge="porch")
            await first.prepares(SPLIT)
            first.channel.abort()
            await until(lambda: not rack.server.sessions)
            for edge in ("porch", "porch", "garden"):
                await (await rack.greeted(edge=edge)).prepares(SPLIT)
            go, wait = Patience.PREPARE, Patience.MEASURE
            assert asked == [("porch", go), ("porch", wait), ("porch", wait), ("garden", go)]

    run(main())


@pytest.mark.parametrize("connections", [1, 3])
def test_an_edge_has_its_stages_prepared_one_after_another(tmp_path: Path, connections: int) -> None:
    """So that each is ranked by what those before it took, on whatever connection; other edges' are not held up."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edges = [await rack.greeted(edge="a") for _ in range(connections)]
            other = await rack.greeted(edge="b")
            async with Blocked(rack):
                for epoch in (1, 2, 3):
                    edges[epoch % connections].say(prepare(SPLIT, epoch))
                for edge in edges:
                    edge.say(Ping(number=1))
                    await edge.hears(Pong)
                other.say(prepare(SPLIT, 1))
                await until(lambda: rack.pool.compute.waiting >= 2)
                assert rack.pool.compute.waiting == 2
            for epoch in (1, 2, 3):
                assert (await edges[epoch % connections].hears(Prepared)).epoch == epoch
            assert (await other.hears(Prepared)).ready

    run(main())
