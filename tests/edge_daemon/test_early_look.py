"""Facts about the look at the link while a frame's bytes are on it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from common import limits
from edge_daemon.early_look import AGAIN_S, look_early, look_twice
from edge_daemon.patience import Progress
from tests.event_loop import run

ENOUGH = limits.MIN_GOODPUT_BYTES


def looks(seen: Sequence[Progress | None], until_s: float = math.inf) -> tuple[list[Progress], int]:
    """Look at a frame that is seen so, again and again; return what was told, and how many looks there were."""
    told: list[Progress] = []
    taken = 0

    async def main() -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def progress() -> Progress | None:
            nonlocal taken
            taken += 1
            if taken > len(seen):
                answer.set_result(None)
            return seen[min(taken, len(seen)) - 1]

        await look_early(answer, 0.0, until_s, progress, told.append)

    run(main())
    return told, taken


def at(delivered: int, waited_s: float, left: int = 100_000) -> Progress:
    return Progress(delivered, left, waited_s)


def test_what_moves_between_two_looks_tells_of_the_link() -> None:
    """Not what came before: a burst into an empty queue, or nothing for a while."""
    told, taken = looks([at(90_000, 0.1), at(90_000 + ENOUGH, 0.2)])
    assert told == [at(ENOUGH, 0.1)]
    assert taken == 2


def test_too_little_is_looked_at_again() -> None:
    """A slow link has carried enough to tell by some later look."""
    told, taken = looks([at(0, 0.1), at(ENOUGH // 2, 0.2), at(ENOUGH // 2 * 2, 0.3), at(ENOUGH * 2, 0.4)])
    assert [round(progress.waited_s, 3) for progress in told] in ([0.2], [0.3])
    assert taken in (3, 4)


def test_a_link_that_stands_still_tells_nothing() -> None:
    """It may go on as before: others look after a frame that waits on."""
    told, taken = looks([at(0, 0.1)] * 9)
    assert told == []
    assert taken == 10  # until the answer was there


def test_a_standstill_is_no_part_of_the_pace() -> None:
    """A link that stood still for 0.4 s and goes on as fast as ever is not taken for a slow one."""
    told, _ = looks([*(at(0, 0.1 * look) for look in range(1, 6)), at(ENOUGH, 0.55)])
    (progress,) = told
    assert progress.delivered_bytes == ENOUGH
    assert round(progress.waited_s, 3) == 0.05


def test_nor_is_one_in_the_middle_of_its_bytes() -> None:
    """A few bytes, then a lost packet and TCP's wait for it, then on as before: what came after that is the pace."""
    before = [at(0, 0.1), at(6_000, 0.15)]
    lost = [at(6_000, 0.15 + 0.05 * look) for look in range(1, 9)]
    told, _ = looks([*before, *lost, at(6_000 + ENOUGH, 0.6), at(6_000 + 3 * ENOUGH, 0.65)])
    (progress,) = told
    assert (progress.delivered_bytes, round(progress.waited_s, 3)) in ((ENOUGH, 0.05), (2 * ENOUGH, 0.05))


def test_a_packet_now_and_then_is_a_pace() -> None:
    """A link of 100 kbit/s carries one in two or three looks."""
    seen = [at(1_448 * (look // 3), 0.05 * look) for look in range(3 * (ENOUGH // 1_448 + 3))]
    told, _ = looks(seen)
    (progress,) = told
    assert progress.bps is not None
    assert 60e3 < progress.bps < 100e3


def test_a_frame_whose_bytes_have_arrived_tells_nothing() -> None:
    """At the first look, or at a later one; nor does one that is not on the line any more."""
    assert looks([at(100_000, 0.1, left=0)]) == ([], 1)
    assert looks([at(0, 0.1), at(ENOUGH * 9, 0.2, left=0)]) == ([], 2)
    assert looks([None]) == ([], 1)
    assert looks([at(0, 0.1), None]) == ([], 2)


def looked_twice(wait_s: float, answered: bool) -> tuple[Progress | None, Progress | None]:
    found: list[tuple[Progress | None, Progress | None]] = []

    async def main() -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if answered:
            answer.set_result(None)
        began = time.monotonic()
        found.append(await look_twice(answer, wait_s, lambda: at(0, time.monotonic() - began)))

    run(main())
    return found[0]


def test_two_looks_lie_far_enough_apart_to_tell_however_short_the_wait_is() -> None:
    """What a packet takes on a slow link passes between them."""
    for wait_s in (0.0, AGAIN_S / 2, 3 * AGAIN_S):
        earlier, now = looked_twice(wait_s, answered=False)
        assert earlier is not None
        assert now is not None
        assert now.since(earlier).waited_s >= 0.9 * AGAIN_S
        assert earlier.waited_s >= wait_s - 1.1 * AGAIN_S


def test_a_frame_that_is_answered_is_not_looked_at() -> None:
    """However long it might have been waited for."""
    assert looked_twice(math.inf, answered=True) == (None, None)


def test_looking_has_an_end() -> None:
    """From then on the frame is late, and looked after otherwise."""
    told, taken = looks([at(0, 0.1)] * 9, until_s=2.5 * AGAIN_S)
    assert told == []
    assert taken == 4
