"""Facts about what comes after a try to deliver."""

from __future__ import annotations

import random

import pytest

from edge_daemon.sinks.retry import (
    MOST_RETRY_AFTER_S,
    MOST_S,
    Again,
    Delivered,
    Refused,
    judge,
    next_batch_size,
    next_delay_s,
    retry_after_s,
)

RNG = random.Random(7)


def test_delays_grow_to_the_most_and_differ() -> None:
    """The first is short and random, so that edges do not come in step; none is beyond the most."""
    delays = [[next_delay_s(attempt, random.Random(seed)) for seed in range(50)] for attempt in range(1, 40)]
    assert max(delays[0]) <= 1.0
    assert min(delays[0]) < 0.2
    assert 1.6 <= min(delays[1]) <= max(delays[1]) <= 2.4
    assert all(max(some) <= MOST_S for some in delays)
    assert min(delays[-1]) >= 0.8 * MOST_S
    assert len(set(delays[3])) == 50
    assert next_delay_s(10**9, RNG, 10.0) <= 10.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_delivered(status: int) -> None:
    assert judge(status, {}, "", 1, RNG) == Delivered()


@pytest.mark.parametrize("status", [400, 406, 409, 411, 413, 415, 418, 422, 431])
def test_what_is_about_the_content_is_refused(status: int) -> None:
    verdict = judge(status, {"Retry-After": "5"}, "no such field", 1, RNG)
    assert verdict == Refused(f"HTTP {status}: no such field")


@pytest.mark.parametrize(
    "status", [101, 301, 302, 307, 308, 401, 403, 404, 407, 408, 410, 425, 429, 500, 503, 599]
)
def test_what_may_pass_or_be_mended_is_tried_again(status: int) -> None:
    verdict = judge(status, {}, "", 3, RNG)
    assert isinstance(verdict, Again)
    assert 0 < verdict.after_s <= MOST_S


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "9" * 400}, MOST_RETRY_AFTER_S),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 -0000", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_receivers_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    """Ours may be wrong; and a receiver does not silence an edge for longer than an hour."""
    assert retry_after_s(headers) == seconds


def test_the_longer_of_both_patiences_counts() -> None:
    """A receiver cannot have itself asked more often than the back-off does."""
    assert judge(503, {"Retry-After": "99"}, "", 1, RNG) == Again(99.0, "HTTP 503")
    hurried = judge(503, {"Retry-After": "0"}, "", 9, RNG)
    assert isinstance(hurried, Again)
    assert hurried.after_s > 40


def test_batches_halve_at_a_refusal_and_grow_again() -> None:
    """Down to one, up to the most; a pause changes nothing."""
    assert next_batch_size(50, 50, 50, Refused("")) == 25
    assert next_batch_size(50, 3, 50, Refused("")) == 1
    assert next_batch_size(1, 1, 50, Refused("")) == 1
    assert next_batch_size(1, 1, 50, Delivered()) == 2
    assert next_batch_size(40, 1, 50, Delivered()) == 50
