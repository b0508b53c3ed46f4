"""Facts about the conservation of frames: whatever happens in whatever order, the counts add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.frame_counts import MOVES, ON_THE_WAY, CountsError, FrameCounts, FrameEvent, FrameLedger

events = st.lists(st.sampled_from(FrameEvent), max_size=200)


@given(events)
def test_counts_agree_with_frames_that_are_followed_one_by_one(happened: list[FrameEvent]) -> None:
    """Each event moves one frame if there is one to move, and cannot have happened if there is none."""
    places: list[str] = []
    ledger = FrameLedger()
    for event in happened:
        before, to = MOVES[event]
        counts = ledger.counts
        if before is None:
            places.append(to)
        elif before in places:
            places[places.index(before)] = to
        else:
            with pytest.raises(CountsError, match=f"{before} below 0"):
                ledger.note(event)
            assert ledger.counts is counts, "what cannot have happened changes nothing"
            continue
        ledger.note(event)
        told = ledger.counts.as_document()
        assert told.pop("seen") == len(places) == sum(told.values())
        assert {name: n for name, n in told.items() if n} == {name: places.count(name) for name in places}


@given(events)
def test_the_end_of_a_run_leaves_what_was_on_its_way(happened: list[FrameEvent]) -> None:
    """Nothing is on its way after it, and nothing is forgotten."""
    ledger = FrameLedger()
    for event in happened:
        try:
            ledger.note(event)
        except CountsError:
            continue
    before = ledger.counts
    ledger.close()
    after = ledger.counts
    assert [getattr(after, name) for name in ON_THE_WAY] == [0, 0, 0]
    assert after.left == before.waiting + before.in_flight + before.recording
    assert (after.seen, after.answered, after.failed) == (before.seen, before.answered, before.failed)


@given(st.fixed_dictionaries({name: st.integers(-2, 5) for name in FrameCounts.__slots__}))
def test_counts_that_do_not_add_up_cannot_be_built(counts: dict[str, int]) -> None:
    """The check is in the value: where there are counts, the equation holds."""
    adds_up = counts["seen"] * 2 == sum(counts.values()) and min(counts.values()) >= 0
    if adds_up:
        assert FrameCounts(**counts).as_document() == counts
    else:
        with pytest.raises(CountsError, match=r"below 0|told of"):
            FrameCounts(**counts)


def test_several_frames_at_a_time() -> None:
    """A batch of records is counted in one go."""
    ledger = FrameLedger()
    for event in (FrameEvent.SEEN, FrameEvent.BEGUN, FrameEvent.PROCESSED, FrameEvent.ANSWERED):
        ledger.note(event, 3)
    assert ledger.counts == FrameCounts(seen=3, answered=3)
