"""Facts about the decision whether work goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.standstill import PartSeen, Standstill


def part(done: int, *, busy: bool = True, most_s: float = 10.0, name: str = "frames") -> PartSeen:
    return PartSeen(name=name, done=done, busy=busy, most_s=most_s)


def test_what_moves_is_alive() -> None:
    """However long it goes on."""
    standstill = Standstill()
    assert [standstill.look([part(n)], n * 9.0) for n in range(100)] == [None] * 100


def test_what_has_nothing_to_do_is_alive() -> None:
    """An idle part need not move; its time begins when it gets something to do."""
    standstill = Standstill()
    assert standstill.look([part(5, busy=False)], 0.0) is None
    assert standstill.look([part(5, busy=False)], 1000.0) is None
    assert standstill.look([part(5)], 1009.0) is None
    assert standstill.look([part(5)], 1011.0) == "frames for 11 s"


def test_what_is_busy_and_does_not_move_stands_still() -> None:
    """From its limit on, until it moves again; the time is since it last moved."""
    standstill = Standstill()
    assert standstill.look([part(1)], 0.0) is None
    assert standstill.look([part(1)], 10.0) is None
    assert standstill.look([part(1)], 10.5) == "frames for 10 s"
    assert standstill.look([part(2)], 11.0) is None
    assert standstill.look([part(2)], 22.0) == "frames for 11 s"


def test_every_part_that_stands_still_is_named() -> None:
    """Each by its own limit; one that moves excuses no other."""
    standstill = Standstill()

    def look(now: float, done: int) -> str | None:
        return standstill.look(
            [part(done, name="a"), part(0, name="b", most_s=5), part(0, name="c", most_s=50)], now
        )

    assert look(0.0, 0) is None
    assert look(20.0, 1) == "b for 20 s"
    assert look(60.0, 2) == "b for 60 s, c for 60 s"


@given(st.lists(st.tuples(st.floats(0.1, 20), st.booleans(), st.booleans())))
def test_it_stands_still_exactly_if_busy_and_unmoved_for_longer(
    steps: list[tuple[float, bool, bool]],
) -> None:
    """For any sequence of looks: the same as counting the time since the last move or idleness."""
    standstill, now, done, since = Standstill(), 0.0, 0, 0.0
    standstill.look([part(0)], 0.0)
    for step_s, moves, busy in steps:
        now += step_s
        done += moves
        if moves or not busy:
            since = now
        assert (standstill.look([part(done, busy=busy)], now) is not None) == (now - since > 10.0)
