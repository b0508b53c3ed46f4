"""Facts about how often frames are taken."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from edge_daemon.sampling import Sampling, adapt, is_sampled

UP = limits.ADAPT_UP_AFTER_S


def test_overload_lowers_the_rate_at_once_with_the_reason() -> None:
    """To a little less than what is sustained, or frames would go on queueing."""
    lowered = adapt(Sampling.at(10.0), 4.0, overloaded=True, at=0.0)
    assert lowered.fps == pytest.approx(4.0 * (1 - limits.ADAPT_MARGIN))
    assert lowered.reason == "no cut keeps 10 frames/s, the best sustains 4"
    assert lowered.asked_fps == 10.0


def test_the_rate_comes_back_when_it_can_be_kept_for_some_time() -> None:
    """Not at the first sign: the plan that just keeps the rate may be gone at the next look."""
    low = adapt(Sampling.at(10.0), 4.0, overloaded=True, at=0.0)
    sign = adapt(low, 12.0, overloaded=False, at=5.0)
    assert sign.fps == low.fps
    assert adapt(sign, 12.0, overloaded=False, at=5.0 + UP - 0.1).fps == low.fps
    assert adapt(sign, 12.0, overloaded=False, at=5.0 + UP) == Sampling.at(10.0)


def test_a_relapse_begins_the_wait_anew() -> None:
    """What was possible only for a moment raises nothing."""
    low = adapt(Sampling.at(10.0), 4.0, overloaded=True, at=0.0)
    sign = adapt(low, 12.0, overloaded=False, at=5.0)
    relapse = adapt(sign, 4.0, overloaded=True, at=6.0)
    assert relapse.better_since is None
    again = adapt(relapse, 12.0, overloaded=False, at=7.0)
    assert adapt(again, 12.0, overloaded=False, at=5.0 + UP).fps == low.fps


def test_it_goes_up_in_steps_while_the_overload_lessens() -> None:
    """Still overloaded, but more is sustained than is taken."""
    low = adapt(Sampling.at(10.0), 4.0, overloaded=True, at=0.0)
    sign = adapt(low, 6.0, overloaded=True, at=1.0)
    higher = adapt(sign, 6.0, overloaded=True, at=1.0 + UP)
    assert higher.fps == pytest.approx(6.0 * (1 - limits.ADAPT_MARGIN))
    assert higher.reason == "no cut keeps 10 frames/s, the best sustains 6 now"


def test_noise_moves_nothing() -> None:
    """Sustained rates that differ by a few percent from look to look."""
    low = adapt(Sampling.at(10.0), 4.0, overloaded=True, at=0.0)
    rng, now = random.Random(1), low
    for second in range(1000):
        now = adapt(now, 4.0 * rng.uniform(0.97, 1.04), overloaded=True, at=float(second))
        assert now.fps == low.fps


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.just(math.inf), st.floats(0.01, 100)), st.booleans()), max_size=40
    )
)
def test_never_more_than_was_asked_for_and_never_nothing(looks: list[tuple[float | None, bool]]) -> None:
    """Whatever the plans say. And while nothing is overloaded for long, the rate is what was asked for."""
    now = Sampling.at(5.0)
    for second, (sustainable, overloaded) in enumerate(looks):
        now = adapt(now, sustainable, overloaded, float(second))
        assert 0 < now.fps <= 5.0
        assert (now.reason is None) == (now.fps == 5.0)
    for second in range(len(looks), len(looks) + 20):
        now = adapt(now, 50.0, False, float(second))
    assert now == Sampling.at(5.0)


def test_as_fast_as_possible_stays_so() -> None:
    """There is no rate to lower."""
    assert adapt(Sampling.at(0.0), 4.0, True, 0.0) == Sampling.at(0.0)
    assert Sampling.at(0.0).to_status() == {"asked_fps": None, "fps": None, "reason": None}


def test_a_video_is_thinned_to_the_first_frame_of_each_period() -> None:
    """Thirty frames per second at a rate of five: each sixth one; a slower video loses none."""
    times = [i / 30 for i in range(60)]
    assert sampled(times, 5.0) == list(range(0, 60, 6))
    assert sampled(times, 0.0) == list(range(60))
    assert sampled([float(i) for i in range(10)], 5.0) == list(range(10))


def sampled(times: list[float], fps: float) -> list[int]:
    with_before = zip(times, [None, *times[:-1]], strict=True)
    return [index for index, (time, before) in enumerate(with_before) if is_sampled(time, before, fps)]
