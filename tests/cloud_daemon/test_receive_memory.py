"""Facts about a cloud that has no memory for a frame."""

from __future__ import annotations

from pathlib import Path

from common import limits
from common.wire import framing
from common.wire.messages import Busy, Infer
from common.wire.receive_ledger import ReceiveLedger
from tests.cloud_daemon.edge import SPLIT, Blocked, cloud, crossing, whole
from tests.event_loop import run, until
from tests.tiny_model import jpeg


def test_a_frame_without_memory_is_busy_and_the_next_one_has_its_place(tmp_path: Path) -> None:
    """The memory is for all edges together, and a frame that was answered has given its own back."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            tensors = crossing(SPLIT, jpeg())
            ledger = ReceiveLedger(int(1.5 * sum(tensor.nbytes for tensor in tensors.values())))
            rack.server.ledger = ledger
            one, two = await rack.greeted(), await rack.greeted(edge="garden")
            for edge in (one, two):
                await edge.prepares()
            async with Blocked(rack):
                one.infers(0, tensors)
                await until(lambda: rack.server.frames_here == 1)
                two.infers(0, tensors)
                busy = await two.hears(Busy)
                assert (busy.frame, busy.epoch) == (0, 1)
            _, answer = await one.answer()
            assert answer.equal(whole(jpeg()))
            await until(lambda: ledger.held_bytes == 0)
            two.infers(1, tensors)
            assert (await two.answer())[0].frame == 1
            await until(lambda: ledger.held_bytes == 0)
            assert ledger.refused == 1

    run(main())


def test_one_edge_on_many_connections_leaves_the_others_half(tmp_path: Path) -> None:
    """It announces much and sends nothing of it: another edge's frame has its place all the same."""
    most = limits.MAX_PAYLOAD_BYTES
    head = framing.pack(Infer(frame=0, epoch=1, deadline_ms=1e9, tensors=()), most)

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            ledger = rack.server.ledger = ReceiveLedger(4 * most)
            good = await rack.greeted(edge="garden")
            await good.prepares()
            for _ in range(4):
                greedy = await rack.greeted(edge="greedy")
                assert greedy.channel._transport is not None
                greedy.channel._transport.write(head)
            await until(lambda: ledger.held_bytes // most + ledger.refused == 4)
            assert (ledger.held_bytes, ledger.refused) == (2 * most, 2)
            good.infers(0, crossing(SPLIT, jpeg()))
            assert (await good.answer())[0].frame == 0

    run(main())
