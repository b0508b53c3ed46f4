"""Facts about the rank of preparing: before frames, as long as it takes little of the thread."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from cloud_daemon.prepare_rank import SHARE_S, WITHIN_S, PrepareRank
from common.plan import Cut
from common.wire.messages import Answer, Ping, Pong, Prepared
from models.batch import BatchSegment
from models.compute import Patience
from tests.cloud_daemon.edge import GRAPH, SPLIT, Blocked, cloud, crossing, prepare
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

    rank = PrepareRank()
    with pytest.raises(MemoryError):
        rank.timed(fail)
    assert rank.patience(clock[0]) is Patience.MEASURE


@pytest.mark.parametrize("took_s", [0.0, SHARE_S])
def test_an_edge_that_prepares_much_lets_frames_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took_s: float
) -> None:
    """Its next stage waits behind the frames of others that are there; one that has prepared little goes first."""
    order: list[str] = []

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            good, other = await rack.greeted(edge="good"), await rack.greeted(edge="other")
            await good.prepares(SPLIT)
            (session,) = (one for one in rack.server.sessions if one.edge == "other")
            session._asked_for.rank.note(math.inf, took_s)  # lately, however long this test takes
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
            assert order == (["run", "warm"] if took_s else ["warm", "run"])

    run(main())


def test_an_edge_has_its_stages_prepared_one_after_another(tmp_path: Path) -> None:
    """So that each is ranked by what those before it took; other edges' are not held up by that."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            edge, other = await rack.greeted(edge="a"), await rack.greeted(edge="b")
            async with Blocked(rack):
                for epoch in (1, 2, 3):
                    edge.say(prepare(SPLIT, epoch))
                edge.say(Ping(number=1))
                await edge.hears(Pong)
                other.say(prepare(SPLIT, 1))
                await until(lambda: rack.pool.compute.waiting >= 2)
                assert rack.pool.compute.waiting == 2
            assert [(await edge.hears(Prepared)).epoch for _ in range(3)] == [1, 2, 3]
            assert (await other.hears(Prepared)).ready

    run(main())
