"""Facts about the stages that a cloud holds for its edges: shared, learning while they are used, and only so many."""

from __future__ import annotations

import threading
from pathlib import Path
from weakref import ref

from cloud_daemon.tail import LIVE_TIMES_KEPT
from common.plan import Cut
from common.wire.messages import MeasureReply, Prepared
from models.batch import BatchSegment
from models.executor import CompiledSegment, TorchExecutor
from models.segment import Segment
from tests.cloud_daemon.edge import GRAPH, SPLIT, Blocked, Cloud, cloud, crossing, measure, prepare
from tests.event_loop import run, until
from tests.tiny_model import jpeg

CUTS = [SPLIT, *(Cut.of(GRAPH, GRAPH.names[:count]) for count in (1, 2, 3, 4, 5))]
"""Six different tails."""


class OneKept(TorchExecutor):
    """Keeps one stage for edges to come; the others are there as long as an edge's plan refers to them."""

    most_kept = 1


def tails(rack: Cloud, epoch: int = 1) -> dict[str, BatchSegment]:
    """What each edge has prepared under an epoch."""
    requests = {session.edge: session._asked_for for session in rack.server.sessions}
    return {edge: asked.tails[epoch].compiled for edge, asked in requests.items() if epoch in asked.tails}


class Noting(TorchExecutor):
    """Notes on which thread each segment is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.threads_used: list[str] = []

    def compile(self, segment: Segment) -> CompiledSegment:
        self.threads_used.append(threading.current_thread().name)
        return super().compile(segment)


def test_edges_that_measure_at_once_have_nothing_compiled_where_frames_run(tmp_path: Path) -> None:
    """Each in its turn: only what one of them measures is kept, and would be pushed out by another's."""

    async def main() -> None:
        executor = Noting()
        async with cloud(tmp_path, executor=executor) as rack:
            edges = [await rack.greeted(edge=edge) for edge in "abc"]
            executor.threads_used.clear()
            for edge, cut in zip(edges, CUTS[3:], strict=True):
                edge.say(measure(cut))
            for edge in edges:
                assert (await edge.hears(MeasureReply)).measured
            assert set(executor.threads_used) == {"stages behind"}

    run(main())


def test_edges_that_come_later_share_the_stage_of_those_before(tmp_path: Path) -> None:
    """Also when it has made room for others meanwhile: one memory, and frames that run together."""

    async def main() -> None:
        async with cloud(tmp_path, executor=OneKept()) as rack:
            for edge, cut in (("a", SPLIT), ("b", CUTS[1]), ("c", SPLIT)):
                assert (await (await rack.greeted(edge=edge)).prepares(cut)).ready
            assert tails(rack)["a"] is tails(rack)["c"]

    run(main())


def test_a_stage_learns_batches_once_frames_have_waited_together(tmp_path: Path) -> None:
    """Others that are prepared after it end nothing, and learn nothing while no two frames wait for them."""

    async def main() -> None:
        async with cloud(tmp_path, executor=OneKept(), batch_max=2) as rack:
            edges = [await rack.greeted(edge=edge) for edge in "ab"]
            async with Blocked(rack):  # both are prepared before either could learn anything
                for edge, cut in zip(edges, CUTS, strict=False):
                    edge.say(prepare(cut, 1))
                await until(lambda: rack.pool.compute.waiting == len(edges))
            for edge in edges:
                assert (await edge.hears(Prepared)).ready
            busy, calm = tails(rack)["a"], tails(rack)["b"]
            sent = crossing(SPLIT, jpeg())
            async with Blocked(rack):
                for number in (1, 2):
                    edges[0].infers(number, sent)
                await until(lambda: rack.pool.frames.waiting == 2)
            for _ in range(2):
                await edges[0].answer()
            edges[1].infers(1, crossing(CUTS[1], jpeg()))
            await edges[1].answer()
            edges[0].infers(3, sent)
            await edges[0].answer()
            await until(lambda: busy.times.ms(2) is not None)
            assert not calm.is_wanted
            assert calm.times.ms(2) is None

    run(main())


def test_a_stage_that_nobody_uses_any_more_is_gone(tmp_path: Path) -> None:
    """At once, in the middle of its learning: its memory is for the next one."""

    async def main() -> None:
        async with cloud(tmp_path, executor=OneKept()) as rack:
            first, second = [await rack.greeted(edge=edge) for edge in "ab"]
            await first.prepares(SPLIT)
            gone = ref(tails(rack)["a"])
            first.channel.abort()
            await until(lambda: len(rack.server.sessions) == 1)
            assert (await second.prepares(CUTS[1])).ready
            await until(lambda: gone() is None)

    run(main())


def test_no_more_stages_are_held_than_so_many(tmp_path: Path) -> None:
    """One more is refused with the numbers; its edge keeps the plan it has, and may have one that is in use."""

    async def main() -> None:
        async with cloud(tmp_path, executor=OneKept()) as rack:
            edges = [await rack.greeted(edge=edge) for edge in "abcde"]
            for edge, cut in zip(edges[:LIVE_TIMES_KEPT], CUTS, strict=False):
                assert (await edge.prepares(cut)).ready
            beyond = CUTS[LIVE_TIMES_KEPT]
            refused = await edges[0].prepares(beyond, epoch=2)
            assert not refused.ready
            assert "4 stages of" in refused.reason
            edges[0].infers(1, crossing(SPLIT, jpeg()))
            await edges[0].answer()
            assert (await edges[4].prepares(CUTS[1])).ready
            edges[0].channel.abort()
            await until(lambda: len(rack.server.sessions) == len(edges) - 1)
            assert (await edges[4].prepares(beyond, epoch=2)).ready

    run(main())
