"""Facts about the counts of frames at the cloud: they add up, and a peer cannot make many of them."""

from __future__ import annotations

from pathlib import Path

from cloud_daemon.frame_tally import FrameTally, Outcome, Served, family
from common import limits
from common.wire.codecs import OFFERED
from common.wire.messages import Busy, Failed
from common.wire.tensors import TensorEntry
from tests.cloud_daemon.edge import SPLIT, Blocked, cloud, crossing
from tests.event_loop import run, until
from tests.tiny_model import jpeg


def test_every_frame_is_in_one_place() -> None:
    """Here, or done with in one way."""
    tally = FrameTally()
    entry = TensorEntry(0, "uint8", (10,), 10)
    for outcome in Outcome:
        tally.came([entry])
        assert tally.in_flight == 1
        tally.ended(outcome)
    tally.turned_away([entry], Outcome.NO_PLACE)
    assert tally.in_flight == 0
    assert tally.received == tally.outcomes.total() == len(Outcome) + 1
    assert tally.received_bytes == {"raw": 10 * (len(Outcome) + 1)}


def test_a_codecs_quality_is_no_label() -> None:
    """What an edge may choose from two hundred of becomes two metrics."""
    assert {family(f"{kind}{quality}") for kind in ("jpeg", "webp") for quality in range(1, 101)} == {
        "jpeg",
        "webp",
    }
    assert {family(codec) for codec in OFFERED} == {"jpeg", "webp"} | {
        codec for codec in OFFERED if not codec.startswith(("jpeg", "webp8"))
    }
    assert family("raw") == "raw"


def test_observers_hear_of_answers_and_batches_are_counted() -> None:
    """By how many frames ran together."""
    tally = FrameTally()
    heard: list[Served] = []
    tally.observers.append(heard.append)
    for batch in (1, 4, 4):
        tally.served(Served(1.0, 2.0, 3.0, batch))
    assert tally.batches == {1: 1, 4: 2}
    assert [served.batch for served in heard] == [1, 4, 4]


def test_each_way_a_frame_can_end_is_counted(tmp_path: Path) -> None:
    """Answered, broken, for a plan that is not there, beyond the credit, and with its edge gone."""

    tensors = crossing(SPLIT, jpeg())

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            tally = rack.server.tally
            edge = await rack.greeted()
            await edge.prepares()
            edge.infers(1, tensors)
            await edge.answer()
            assert tally.outcomes == {Outcome.ANSWERED: 1}
            edge.infers(2, tensors, epoch=9)
            await edge.hears(Failed)
            assert tally.outcomes[Outcome.NOT_PREPARED] == 1
            async with Blocked(rack):
                for number in range(limits.MAX_IN_FLIGHT + 1):
                    edge.infers(10 + number, tensors)
                await edge.hears(Busy)
                assert tally.outcomes[Outcome.OVER_CREDIT] == 1
                assert tally.in_flight == limits.MAX_IN_FLIGHT
                edge.channel.abort()
                await until(lambda: tally.in_flight == 0)
                assert tally.outcomes[Outcome.EDGE_GONE] == limits.MAX_IN_FLIGHT

    run(main())
