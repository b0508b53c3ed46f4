"""Facts about stages that are kept compiled: each once, whoever names it how, and only so many."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from weakref import ref

import pytest
import torch

from common.errors import CleaveError, PlanError
from models.compute import ComputeThread, Patience
from models.executor import CompiledSegment, TorchExecutor
from models.model import Model
from models.segment import Segment
from models.stage_threads import StageThreads
from models.stages import KeptStages, StageKey, Stages
from tests.event_loop import run, until
from tests.tiny_model import jpeg, tiny_model

MODEL = tiny_model()
NETWORK = MODEL.network_units


class Made:
    """A segment that is made ready, which is all that is asked of it."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        assert set(inputs) == set(self.segment.inputs)


def kept(most_kept: int, most_live: int | None = None) -> KeptStages[Made]:
    return KeptStages(MODEL, jpeg(), most_kept, Made, most_live)


def last(units: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The last so many units of the network, and its output."""
    return NETWORK[-units:], NETWORK[-1:]


def test_a_stage_is_the_same_in_whatever_order_it_is_named() -> None:
    """Units and outputs are sets; named twice, or backwards, they compile nothing anew."""
    stages = Stages(MODEL, TorchExecutor(), jpeg())
    there = stages.prepare(NETWORK, NETWORK[1:3])
    assert there.segment.outputs == NETWORK[1:3]
    assert stages.prepare(reversed(NETWORK), [*reversed(NETWORK[1:3]), NETWORK[1]]) is there


@pytest.mark.parametrize(
    ("units", "outputs", "reason"),
    [
        (["nothing"], ["nothing"], "'nothing' is no unit"),
        (NETWORK, ["nothing"], "'nothing' is no unit"),
        (NETWORK[:2], NETWORK[2:3], "is not among the units"),
    ],
)
def test_what_is_no_stage_is_refused(units: list[str], outputs: list[str], reason: str) -> None:
    """And makes room for nothing: what was kept is still kept."""
    stages = kept(1)
    there = ref(stages.prepare(*last(1)))
    with pytest.raises(PlanError, match=reason):
        stages.prepare(units, outputs)
    assert stages.prepare(*last(1)) is there()


def test_one_that_made_room_and_is_referred_to_is_found_again() -> None:
    """Two of the same stage would have two memories, and their frames would never share a batch."""
    stages = kept(1)
    mine = stages.prepare(*last(1))
    stages.prepare(*last(2))
    assert stages.prepare(*last(1)) is mine


def test_no_more_than_so_many_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in use can be had all the same; when one of them is given back, another one can be made. A refusal costs
    no stage its place, and nothing is built for it."""
    stages = kept(1, most_live=3)
    mine = [stages.prepare(*last(units)) for units in (1, 2, 3)]
    monkeypatch.setattr(Model, "segment", None)
    with pytest.raises(CleaveError, match=r"3 stages of .* are in use by edges here, and no more than 3"):
        stages.prepare(*last(4))
    assert [ready.segment.units for ready in stages._kept.values()] == [last(3)[0]], (
        "it gained nothing by that"
    )
    assert stages.prepare(*last(1)) is mine[0]
    monkeypatch.undo()
    del mine[0]
    assert stages.prepare(*last(4)).segment.units == last(4)[0]


class Compiler(TorchExecutor):
    """An executor whose compiling waits until it may, and notes its threads, and how many did at a time."""

    def __init__(self, *, anywhere: bool = True) -> None:
        super().__init__()
        self.compiles_anywhere = anywhere
        self.begun, self.may = threading.Event(), threading.Event()
        self.threads_used: list[str] = []
        self.at_work = self.most_at_work = 0

    def compile(self, segment: Segment) -> CompiledSegment:
        self.threads_used.append(threading.current_thread().name)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.begun.set()
        assert self.may.wait(10.0)
        self.at_work -= 1
        return super().compile(segment)


@contextlib.contextmanager
def computing(
    executor: Compiler, most_kept: int = 8, most_live: int | None = None
) -> Iterator[tuple[KeptStages[CompiledSegment], ComputeThread]]:
    """Stages with a compute thread, named head, and those beside it."""
    compute, beside = ComputeThread("head"), StageThreads.of_executor(executor)
    try:
        yield KeptStages(MODEL, jpeg(), most_kept, executor.compile, most_live, beside), compute
    finally:
        executor.may.set()
        compute.stop(5.0)
        beside.stop(5.0)


def asked(
    stages: KeptStages[CompiledSegment],
    units: int,
    compute: ComputeThread,
    patience: Patience = Patience.MEASURE,
) -> asyncio.Task[CompiledSegment]:
    """Ask for a stage; it has asked the thread by the next turn of the event loop."""
    return asyncio.create_task(stages.prepare_beside(*last(units), compute, patience))


def test_frames_go_on_while_a_stage_is_prepared_beside_them() -> None:
    """Compiling takes a weak device seconds; it is done on another thread than theirs."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor) as (stages, compute):
            assert not stages.is_making
            task = asked(stages, 2, compute)
            await asyncio.to_thread(executor.begun.wait)
            assert stages.is_making
            assert (await compute.run(lambda: "a frame")).result == "a frame"
            assert not task.done()
            executor.may.set()
            made = await task
            assert executor.threads_used == ["stages behind"]
            assert (await compute.run(stages.prepare, *last(2))).result is made
            assert await asked(stages, 2, compute) is made

    run(main())


def test_an_executor_that_cannot_compiles_on_the_compute_thread() -> None:
    """A CUDA graph that is being captured bears nothing beside it."""

    async def main() -> None:
        executor = Compiler(anywhere=False)
        executor.may.set()
        with computing(executor) as (stages, compute):
            await asked(stages, 2, compute)
            assert executor.threads_used == ["head"]

    run(main())


def test_stages_asked_for_at_once_are_made_once_and_one_at_a_time() -> None:
    """Each compiles the same weights into memory of its own; no more are there than are kept."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor, most_kept=1) as (stages, compute):
            tasks = [asked(stages, units, compute) for units in (2, 2, 1)]
            await asyncio.to_thread(executor.begun.wait)
            executor.may.set()
            first, second, other = await asyncio.gather(*tasks)
            assert first is second
            assert other is not first
            assert len(executor.threads_used) == 2
            assert executor.most_at_work == 1
            assert len(stages._kept) == 1

    run(main())


def test_what_is_there_waits_for_nothing_that_is_made() -> None:
    """A switch to it is one between two frames."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor) as (stages, compute):
            executor.may.set()
            there = await asked(stages, 2, compute)
            executor.begun.clear()
            executor.may.clear()
            other = asked(stages, 1, compute)
            await asyncio.to_thread(executor.begun.wait)
            assert await asked(stages, 2, compute) is there
            assert not other.done()

    run(main())


def test_a_plan_to_switch_to_does_not_wait_for_what_is_only_measured() -> None:
    """That may take long: it gives way to frames, and a better plan is what makes them faster."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor) as (stages, compute):
            measured = asked(stages, 2, compute)
            await asyncio.to_thread(executor.begun.wait)
            executor.begun.clear()
            switched = asked(stages, 1, compute, Patience.PREPARE)
            await asyncio.to_thread(executor.begun.wait)
            assert executor.threads_used == ["stages behind", "stages"]
            executor.may.set()
            await asyncio.gather(measured, switched)

    run(main())


def test_what_is_being_made_beside_frames_is_held_already() -> None:
    """Else two threads would make one more than may be. Nor is its place free once nobody waits for it, while it is
    made all the same; but then it is."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor, 1, most_live=1) as (stages, compute):
            first = asked(stages, 2, compute)
            await asyncio.to_thread(executor.begun.wait)
            for step in (lambda: None, first.cancel):
                step()
                with pytest.raises(
                    CleaveError, match=r"1 stages of .* are in use by edges here, and no more than 1"
                ):
                    await asked(stages, 1, compute, Patience.PREPARE)
            assert first.cancelled()
            executor.may.set()
            await until(lambda: not stages.is_making)
            assert (await asked(stages, 1, compute, Patience.PREPARE)).segment.units == last(1)[0]

    run(main())


def test_a_stage_that_nobody_waits_for_any_more_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked may go while room is made for it, or while it waits for its turn."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor, 1, most_live=3) as (stages, compute):
            first = asked(stages, 2, compute)
            await asyncio.to_thread(executor.begun.wait)
            making_room, may = threading.Event(), threading.Event()
            make_room = stages._make_room

            def make_room_late(key: StageKey) -> None:
                making_room.set()
                assert may.wait(10)
                make_room(key)

            monkeypatch.setattr(stages, "_make_room", make_room_late)
            second = asked(stages, 1, compute)
            await asyncio.to_thread(making_room.wait, 10)
            second.cancel()
            await asyncio.wait([second])
            may.set()
            third = asked(stages, 3, compute)
            await until(lambda: set(stages._to_come.values()) == {last(2), last(1), last(3)})
            await asyncio.sleep(0.0)
            third.cancel()
            await asyncio.wait([third])
            executor.may.set()
            await first
            await until(lambda: not stages.is_making)
            assert not stages._to_come

    run(main())


def test_what_is_being_made_already_needs_no_other_place() -> None:
    """Two edges that ask for it at once get the same one, however full it is."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor, 1, most_live=1) as (stages, compute):
            first = asked(stages, 2, compute)
            await asyncio.to_thread(executor.begun.wait, 10)
            second = asked(stages, 2, compute)
            await compute.run(lambda: None)
            executor.may.set()
            assert await first is await second

    run(main())


def test_what_is_no_stage_is_refused_beside_frames_too() -> None:
    """And makes room for nothing there, either."""

    async def main() -> None:
        executor = Compiler()
        executor.may.set()
        with computing(executor, 1) as (stages, compute):
            there = ref(await asked(stages, 1, compute))
            with pytest.raises(PlanError, match="is not among the units"):
                await stages.prepare_beside(NETWORK[:2], NETWORK[2:3], compute, Patience.MEASURE)
            assert await asked(stages, 1, compute) is there()

    run(main())


def test_a_stage_that_was_made_meanwhile_is_the_one() -> None:
    """Whoever asked on the compute thread has it already: two would have two memories."""

    async def main() -> None:
        executor = Compiler()
        with computing(executor) as (stages, compute):
            task = asked(stages, 2, compute)
            await asyncio.to_thread(executor.begun.wait)
            frame = asyncio.create_task(compute.run(stages.prepare, *last(2)))
            await until(lambda: len(executor.threads_used) == 2)
            executor.may.set()
            assert await task is (await frame).result

    run(main())
