"""The bars about one part of the pair, judged by rows that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.bench_bars import BARE, CODEC_CUTS, MANY_CUTS, OURS, RPC, State, Verdict
from benchmarks.bench_part_rows import CodecRow, ExecutorRow, OverheadRow
from benchmarks.bench_part_verdicts import codec_verdicts, executor_verdicts, many_verdicts, overhead_verdicts
from benchmarks.bench_rows import MODELS, Spread
from tests.benchmarks.bench_examples import many_row


def states(found: Sequence[Verdict]) -> list[State]:
    return [verdict.state for verdict in found]


def overhead(ours: float, bare: float, rpc: float) -> list[OverheadRow]:
    times = {OURS: ours, BARE: bare, RPC: rpc}
    return [OverheadRow(channel=c, payload_bytes=800_000, rounds=((ms,),)) for c, ms in times.items()]


@pytest.mark.parametrize(
    ("ours", "bare", "rpc", "expected"),
    [
        (1.4, 1.0, 2.2, [State.MET, State.MET]),
        (1.6, 1.0, 2.5, [State.MISSED, State.MET]),
        (1.5, 1.0, 2.0, [State.MET, State.MISSED]),
        (0.0, 0.0, 1.0, [State.MISSED, State.MISSED]),
    ],
)
def test_overhead_is_judged_against_both(ours: float, bare: float, rpc: float, expected: list[State]) -> None:
    """A channel that seems to take no time was not measured, and meets nothing."""
    assert states(overhead_verdicts(overhead(ours, bare, rpc))) == expected


def test_overhead_is_not_judged_without_all_channels() -> None:
    """There is nothing to compare with."""
    assert states(overhead_verdicts(overhead(1.0, 1.0, 2.0)[:2])) == [State.OPEN] * 2


def codec_row(
    packed_bytes: float = 2_000.0,
    accuracy: float = 0.97,
    encode_ms: float = 0.2,
    saved_ms: float = 4.0,
    cut: str = CODEC_CUTS[0],
) -> CodecRow:
    return CodecRow(
        cut=cut,
        raw_bytes=12_000.0,
        packed_bytes=packed_bytes,
        raw_accuracy=0.97,
        accuracy=accuracy,
        encode_ms=encode_ms,
        decode_ms=0.1,
        saved_ms=saved_ms,
    )


@pytest.mark.parametrize(
    ("row", "missed"),
    [
        (codec_row(), [False, False, False]),
        (codec_row(packed_bytes=2_500.0), [True, False, False]),
        (codec_row(accuracy=0.96), [False, True, False]),
        (codec_row(encode_ms=0.6), [False, False, True]),
        (codec_row(saved_ms=0.0), [False, False, True]),
        (codec_row(saved_ms=-1.0), [False, False, True]),
    ],
)
def test_codecs_are_judged_by_bytes_answers_and_time(row: CodecRow, missed: list[bool]) -> None:
    """The worst cut counts in each; where nothing is saved no encoding is cheap enough."""
    every = [codec_row(cut=cut) for cut in CODEC_CUTS]
    expected = [State.MISSED if one else State.MET for one in missed]
    assert states(codec_verdicts([*every, row])) == expected
    partly = [State.MISSED if one else State.PARTLY for one in missed]
    assert states(codec_verdicts([row])) == partly


def executor_row(model: str, factor: float, onnx_ms: float = 10.0) -> ExecutorRow:
    fast = Spread(onnx_ms, onnx_ms, onnx_ms)
    slow = Spread(10.0 * factor, 10.0, 20.0)
    return ExecutorRow(model=model, plain=slow, torch=slow, onnxruntime=fast, difference=0.0)


def executors(*factors: float) -> list[ExecutorRow]:
    return [executor_row(model, factor) for model, factor in zip(MODELS, factors, strict=False)]


@pytest.mark.parametrize(
    ("rows", "state", "found"),
    [
        (executors(1.4, 1.4, 1.4, 1.4, 1.0, 1.0), State.MET, "4 of 6"),
        (executors(1.4, 1.4, 1.4, 1.0, 1.0, 1.0), State.MISSED, "3 of 6"),
        (executors(1.4, 1.4, 1.4, 1.4), State.PARTLY, "4 of 4"),
        (executors(1.4, 1.0, 1.0), State.PARTLY, "1 of 3"),
        (executors(1.0, 1.0, 1.0), State.MISSED, "0 of 3"),
        ([executor_row("alexnet", 2.0)], State.OPEN, ""),
        ([executor_row(model, 1.4, onnx_ms=0.0) for model in MODELS], State.MISSED, "0 of 6"),
    ],
)
def test_executors_are_judged_by_how_many_models_gain_enough(
    rows: list[ExecutorRow], state: State, found: str
) -> None:
    """Four of the six must be 1.3 times faster: missed with the third that is not. Other models do not count."""
    (verdict,) = executor_verdicts(rows)
    assert (verdict.state, verdict.found) == (state, found)


def test_many_edges_are_judged_by_the_executor_alone_and_the_slowest_edge() -> None:
    """Three cuts, sixteen edges: the worst counts in each; other cuts and crowds are not judged."""
    every = [many_row(model=model, cut=cut) for model, cut in MANY_CUTS]
    assert states(many_verdicts(every)) == [State.MET] * 2
    assert states(many_verdicts(every[1:])) == [State.PARTLY] * 2
    assert states(many_verdicts([*every, many_row(fps=89.0)])) == [State.MISSED, State.MET]
    assert states(many_verdicts([*every, many_row(slowest=0.69)])) == [State.MET, State.MISSED]
    assert states(many_verdicts([*every, many_row(alone_fps=0.0)])) == [State.MISSED, State.MET]
    others = [many_row(cut="after x"), replace(many_row(), edges=2)]
    assert states(many_verdicts(others)) == [State.OPEN] * 2


def test_frames_of_many_edges_that_failed_or_had_no_place_are_told() -> None:
    """Whoever waits with a frame that was told Busy sends it again: it is no failure, but it is told."""
    verdict = many_verdicts([many_row(failed=2, busy=3)])[0]
    assert verdict.found == "least 0.95 (resnet18, after add_3); 2 frames failed; 3 frames were told Busy"
