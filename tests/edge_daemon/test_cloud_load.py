"""Facts about what an edge believes of the cloud's load."""

from __future__ import annotations

import random

import pytest

from edge_daemon.cloud_load import (
    ANSWERS_STALE_S,
    AWAY,
    FEWEST_ANSWERS,
    PONGS_STALE_S,
    AnsweredWait,
    CloudLoad,
    ExpectedWait,
)


def load() -> CloudLoad:
    return CloudLoad(None, random.Random(0))


def say(of: CloudLoad, *waits_ms: float, at: float = 100.0, answered: bool = True) -> None:
    for ms in waits_ms:
        of.add(AnsweredWait(ms, at) if answered else ExpectedWait(0.0, ms, at))


def test_nothing_known_is_no_wait() -> None:
    """A cloud that has said nothing is taken for free."""
    assert load().wait_ms(100.0) == 0.0


def test_frames_that_did_wait_outweigh_one_that_would() -> None:
    """By the answers while there are enough of them; by the pongs before, and again when answers are old."""
    seen = load()
    say(seen, 40.0, 44.0, 42.0, answered=False)
    assert seen.wait_ms(100.0) == 42.0
    say(seen, *[10.0] * (FEWEST_ANSWERS - 1))
    assert seen.wait_ms(100.0) == 42.0
    say(seen, 10.0)
    assert seen.wait_ms(100.0) == 10.0
    assert seen.wait_ms(100.1 + ANSWERS_STALE_S) == 42.0
    assert seen.wait_ms(100.1 + PONGS_STALE_S) == 0.0


@pytest.mark.parametrize(("rate_fps", "wait_ms"), [(2.0, 30.0), (9.0, 30.0), (11.0, 100.0), (None, 100.0)])
def test_an_edge_that_wants_less_than_its_part_is_served_soon(rate_fps: float | None, wait_ms: float) -> None:
    """With a turn each 100 ms, five frames a second wait for the batch that runs, fifty for everybody's turns."""
    seen = CloudLoad(rate_fps, random.Random(0))
    for _ in range(3):
        seen.add(ExpectedWait(30.0, 100.0, 100.0))
    assert seen.wait_ms(100.0) == wait_ms


def test_one_hiccup_is_no_load() -> None:
    """A single frame that waited long moves nothing; neither does a single pong."""
    seen = load()
    say(seen, 5.0, 5.0, 5.0, 2000.0, 5.0, 5.0)
    assert seen.wait_ms(100.0) == 5.0
    seen = load()
    say(seen, 0.0, 900.0, 0.0, answered=False)
    assert seen.wait_ms(100.0) == 0.0


def test_the_answers_mean_counts() -> None:
    """One frame of four waited for all four: each costs a quarter of that, where a median would say nothing."""
    seen = load()
    say(seen, *[80.0, 0.0, 0.0, 0.0] * 5)
    assert seen.wait_ms(100.0) == pytest.approx(16.84, abs=0.01)


def test_the_wait_that_an_edge_left_for_holds_on() -> None:
    """Its leaving has emptied the cloud; that the cloud is free now is believed only after a while."""
    seen = load()
    say(seen, *[50.0] * 8)
    seen.left(50.0, 100.0)
    say(seen, 0.0, 0.0, answered=False)
    assert seen.wait_ms(100.0) == 50.0
    assert seen.wait_ms(100.0 + 0.7 * AWAY.first_s) == 50.0
    assert seen.wait_ms(100.0 + 1.3 * AWAY.first_s) == 0.0
    say(seen, 90.0, 90.0, 90.0, 90.0, answered=False)
    assert seen.wait_ms(100.5) == 90.0, "nor is it taken for less busy than it is"


def test_who_leaves_again_and_again_stays_away_longer() -> None:
    """Twice as long each time; two minutes after it might have returned it begins anew. And no two are in step."""
    seen = load()
    now = 0.0
    for wait_s in (AWAY.first_s, 2 * AWAY.first_s, 4 * AWAY.first_s):
        seen.left(50.0, now)
        assert seen.wait_ms(now + 0.7 * wait_s) == 50.0
        now += 1.3 * wait_s
        assert seen.wait_ms(now) == 0.0
    now += AWAY.forgiven_s
    seen.left(50.0, now)
    assert seen.wait_ms(now + 1.3 * AWAY.first_s) == 0.0
    returns = set()
    for seed in range(20):
        seen = CloudLoad(None, random.Random(seed))
        seen.left(50.0, 0.0)
        returns.add(next(n for n in range(100) if seen.wait_ms(n / 10) == 0.0))
    assert len(returns) > 10


def test_what_was_said_over_a_lost_link_is_forgotten() -> None:
    """What the edge gave way to is not: the link may come back sooner than the cloud gets free."""
    seen = load()
    say(seen, *[50.0] * 8)
    seen.forget()
    assert seen.wait_ms(100.0) == 0.0
    seen.left(50.0, 100.0)
    seen.forget()
    assert seen.wait_ms(101.0) == 50.0
