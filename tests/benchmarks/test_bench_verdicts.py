"""The bars, judged by rows that are made up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.bench_part_rows import CodecRow, ExecutorRow, OverheadRow
from benchmarks.bench_rows import MODELS, RATES_BPS, RegretRow, Spread
from benchmarks.bench_verdicts import BARE, OURS, RPC, State, Verdict, prediction_errors, verdicts
from tests.benchmarks.bench_examples import adaptation_row, regret_row, throughput_row


def all_points(adaptive: float = 100.0, predicted: float = 1.0) -> list[RegretRow]:
    return [
        regret_row(adaptive, model=model, rate_bps=rate, predicted=predicted)
        for model in MODELS
        for rate in RATES_BPS
    ]


def overhead(ours: float, bare: float, rpc: float) -> list[OverheadRow]:
    times = {OURS: ours, BARE: bare, RPC: rpc}
    return [OverheadRow(channel=c, payload_bytes=800_000, rounds=((ms,),)) for c, ms in times.items()]


def states(found: Sequence[Verdict]) -> list[State]:
    return [verdict.state for verdict in found]


def test_what_was_not_measured_is_said_to_be_open() -> None:
    assert set(states(verdicts([], [], [], []))) == {State.OPEN}


def test_all_bars_can_be_met() -> None:
    """Every point, every section, each within its bar."""
    found = verdicts(all_points(), [throughput_row()], overhead(1.4, 1.0, 2.2), [adaptation_row()])
    assert [state for state in states(found) if state is not State.OPEN] == [State.MET] * 11


def test_bars_that_hold_at_the_points_there_are_hold_only_so_far() -> None:
    found = verdicts(all_points()[:5], [], [], [])
    assert states(found)[:4] == [State.PARTLY] * 4


@pytest.mark.parametrize(
    ("worse", "adaptive", "missed"),
    [
        (4, 106.0, [False, False, True]),
        (5, 104.9, [False, False, False]),
        (5, 106.0, [True, False, True]),
        (1, 116.0, [False, True, True]),
    ],
)
def test_regret_is_judged_by_share_worst_and_ends(worse: int, adaptive: float, missed: list[bool]) -> None:
    """Four of 42 points may be above 1.05, none above 1.15, and none above 1.05 × the better end."""
    rows = [*all_points(adaptive)[:worse], *all_points()[worse:]]
    found = [state is State.MISSED for state in states(verdicts(rows, [], [], []))[:3]]
    assert found == missed


def test_a_middle_cut_that_is_better_is_no_end() -> None:
    """Behind the best static cut, not behind the better end: only the regret's bars are missed."""
    rows = [regret_row(100.0, middle=80.0)]
    assert states(verdicts(rows, [], [], []))[:3] == [State.MISSED, State.MISSED, State.PARTLY]


def test_predictions_are_judged_without_edge_only_which_tells_the_speed() -> None:
    rows = all_points(predicted=1.11)
    assert len(prediction_errors(rows)) == 2 * len(rows)
    assert states(verdicts(rows, [], [], []))[3] is State.MISSED
    assert states(verdicts(all_points(predicted=0.91), [], [], []))[3] is State.MET


@pytest.mark.parametrize(
    ("ours", "bare", "rpc", "expected"),
    [(1.6, 1.0, 2.5, [State.MISSED, State.MET]), (1.5, 1.0, 2.0, [State.MET, State.MISSED])],
)
def test_overhead_is_judged_against_both(ours: float, bare: float, rpc: float, expected: list[State]) -> None:
    assert states(verdicts([], [], overhead(ours, bare, rpc), []))[6:8] == expected


def test_throughput_is_judged_by_the_worst_cut_and_the_link_by_those_it_bounds() -> None:
    slow = throughput_row(fps=9.2, bound_by="cloud", bytes_per_s=0.5e6)
    assert states(verdicts([], [throughput_row(), slow], [], []))[4:6] == [State.MISSED, State.MET]
    idle = throughput_row(bytes_per_s=0.94e6)
    assert states(verdicts([], [idle], [], []))[4:6] == [State.MET, State.MISSED]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (adaptation_row(planned_s=6.1), [State.MISSED, State.MET, State.MET]),
        (adaptation_row(planned_s=None), [State.MISSED, State.MET, State.MET]),
        (adaptation_row(lost=1), [State.MET, State.MISSED, State.MET]),
        (adaptation_row(worst_ms=1001.0), [State.MET, State.MET, State.MISSED]),
    ],
)
def test_adaptation_is_judged_by_time_frames_and_the_worst_frame(row: object, expected: list[State]) -> None:
    assert states(verdicts([], [], [], [adaptation_row(), row]))[-3:] == expected  # type: ignore[list-item]


def codec_row(packed_bytes: float = 2_000.0, accuracy: float = 0.97, encode_ms: float = 0.2) -> CodecRow:
    return CodecRow(
        cut="after add",
        raw_bytes=12_000.0,
        packed_bytes=packed_bytes,
        raw_accuracy=0.97,
        accuracy=accuracy,
        encode_ms=encode_ms,
        decode_ms=0.1,
        saved_ms=4.0,
    )


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (codec_row(), [True, True, True]),
        (codec_row(packed_bytes=2_500.0), [False, True, True]),
        (codec_row(accuracy=0.96), [True, False, True]),
        (codec_row(encode_ms=0.6), [True, True, False]),
    ],
)
def test_codecs_are_judged_by_bytes_answers_and_time(row: CodecRow, met: list[bool]) -> None:
    """The worst cut counts in each."""
    found = verdicts([], [], [], [], codecs=[codec_row(), row])
    judged = [v.state is State.MET for v in found if v.state is not State.OPEN]
    assert judged == met


def test_executors_are_judged_by_how_many_models_gain_enough() -> None:
    """Four of the six must be 1.3 times faster; other models do not count."""

    def row(model: str, factor: float) -> ExecutorRow:
        fast = Spread(10.0, 10.0, 10.0)
        slow = Spread(10.0 * factor, 10.0, 20.0)
        return ExecutorRow(model=model, plain=slow, torch=slow, onnxruntime=fast, difference=0.0)

    rows = [row(model, 1.4) for model in MODELS[:4]]
    assert [v.state for v in verdicts([], [], [], [], executors=rows) if v.found] == [State.MET]
    rows = [*rows[:3], row(MODELS[3], 1.2), row("alexnet", 2.0)]
    assert [v.state for v in verdicts([], [], [], [], executors=rows) if v.found] == [State.MISSED]
