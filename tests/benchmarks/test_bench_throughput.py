"""Which cuts are saturated, and what a saturated round tells."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.bench_bed import Record
from benchmarks.bench_rows import CLOUD_ONLY
from benchmarks.bench_throughput import FILL, choose_cases, credible_bps, dominance_of, round_of
from common.plan import Prediction
from tests.benchmarks.bench_examples import CANDIDATES
from tests.event_loop import run


def test_each_stage_bounds_a_cut() -> None:
    """On these links there is one for each; of those that are clear the one with most frames is taken."""
    cases = {case.bound_by: case for case in choose_cases(CANDIDATES, (8e6, 50e6, 500e6))}
    assert list(cases) == ["edge", "link", "cloud"]
    assert (cases["link"].candidate.label, cases["link"].rate_bps) == (CLOUD_ONLY, 8e6)
    assert (cases["cloud"].candidate.label, cases["cloud"].rate_bps) == (CLOUD_ONLY, 500e6)
    assert cases["edge"].candidate.label == "after early"
    assert cases["cloud"].bottleneck_ms == 40.0


def test_a_stage_that_bounds_nothing_is_left_out() -> None:
    """On a slow link alone no cut is bound by the cloud."""
    assert [case.bound_by for case in choose_cases(CANDIDATES, (4e6,))] == ["edge", "link"]


def test_dominance_is_over_the_slowest_of_the_others() -> None:
    prediction = Prediction(edge_ms=10.0, link_ms=40.0, cloud_ms=20.0, latency_ms=70.0)
    assert dominance_of("link", prediction) == 2.0
    assert dominance_of("edge", prediction) == 0.25


def record(at: float, total: float, **more: object) -> Record:
    ms = {"total": total, "head": 30.0, "encode": 0.5, "tail": 20.0}
    ended = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {"answered_at": ended, "ms": ms, "bytes_up": 1000, "error": None, **more}


def filling() -> list[Record]:
    return [record(1000.0 + 5 * n, 999.0) for n in range(FILL)]


LAST = 1000.0 + 5 * (FILL - 1)
"""When the last frame that filled the pipeline was answered."""


def test_a_rounds_rate_is_between_answers_after_the_pipeline_is_full() -> None:
    """Frames that fill it are slow and not counted; of the others an answer came each 0.1 s."""
    found = round_of([*filling(), *(record(LAST + 0.1 * (n + 1), 80.0) for n in range(10))])
    assert found.fps == pytest.approx(10.0)
    assert found.head_ms == 30.5
    assert found.tail_ms == 20.0
    assert found.frame_bytes == 1000.0
    assert found.fallbacks == 0


def test_frames_that_fell_back_are_none_of_the_rates() -> None:
    """Half of ten frames went the whole way: five in a second, by whose stages and bytes the round is judged."""
    failed = {"tail": None, "head": 1.0, "encode": None, "total": 1.0}
    lost: list[dict[str, object]] = [
        {"fallback": "gone", "ms": failed, "bytes_up": 0},
        {"error": "no memory", "ms": failed, "bytes_up": 0},
    ]
    counted = [record(LAST + 0.1 * (n + 1), 80.0, **(lost[n // 2 % 2] if n % 2 else {})) for n in range(10)]
    found = round_of([*filling(), *counted])
    assert found.fps == pytest.approx(5.0)
    assert (found.head_ms, found.tail_ms, found.frame_bytes) == (30.5, 20.0, 1000.0)
    assert found.fallbacks == 5


def test_a_round_in_which_all_frames_fell_back_has_no_rate() -> None:
    """It is a round all the same, and the worst there is."""
    found = round_of([*filling(), *(record(LAST + n + 1, 80.0, fallback="gone") for n in range(3))])
    assert (found.fps, found.fallbacks) == (0.0, 3)


@pytest.mark.parametrize(
    ("readings", "taken", "expected"),
    [
        ([7.6e6], 1, 7.6e6),
        ([4.0e6, 7.6e6], 2, 7.6e6),
        ([4.0e6, 6.0e6, 5.0e6, 7.6e6], 3, 6.0e6),
    ],
)
def test_a_reading_that_is_too_low_is_taken_again(readings: list[float], taken: int, expected: float) -> None:
    """A link of 8 Mbit/s carries 7.66; three readings at most, of which the highest counts."""
    left = list(readings)

    async def read() -> float:
        return left.pop(0)

    async def scene() -> None:
        assert await credible_bps(read, 8e6) == expected

    run(scene())
    assert len(readings) - len(left) == taken
