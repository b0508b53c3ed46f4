"""Facts about a ring of rows of numbers: it keeps the latest, and takes no memory later."""

from __future__ import annotations

import pytest

from common.number_ring import NumberRing


@pytest.mark.parametrize("added", [0, 1, 3, 4, 5, 11])
def test_it_keeps_the_latest_rows_in_their_order(added: int) -> None:
    ring = NumberRing(2, 4)
    for number in range(added):
        ring.append(1_800_000_000.0 + number, -0.5 * number)
    wanted = [(1_800_000_000.0 + number, -0.5 * number) for number in range(added)][-4:]
    assert [*ring] == wanted
    assert len(ring) == len(wanted)
    assert ring.latest == (wanted[-1] if wanted else None)


def test_the_latest_row_can_be_changed() -> None:
    """Also the last place's, and the first one's after it."""
    ring = NumberRing(1, 2)
    for number in range(4):
        ring.append(number)
        ring.replace_latest(10 * number)
    assert [*ring] == [(20.0,), (30.0,)]


def test_rows_take_the_place_that_is_there_from_the_beginning() -> None:
    """No object is made for a row, however many come."""
    ring = NumberRing(3, 8)
    place = ring._numbers.buffer_info()
    for number in range(100):
        ring.append(number, number, number)
    assert ring._numbers.buffer_info() == place


def test_a_row_of_another_length_is_a_bug() -> None:
    """And leaves the ring as it was."""
    ring = NumberRing(2, 3)
    ring.append(1.0, 2.0)
    for row in ((1.0,), (1.0, 2.0, 3.0)):
        with pytest.raises(ValueError, match="has 2 numbers"):
            ring.append(*row)
    assert [*ring] == [(1.0, 2.0)]
