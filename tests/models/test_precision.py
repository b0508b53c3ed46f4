"""Facts about half precision: how it is compared, what is refused, what it leaves of what was learnt."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from benchmarks.digits import trained
from common.errors import ConfigurationError
from models.cancel_token import CancelToken
from models.cuda_executor import CudaExecutor
from models.executor import TorchExecutor
from models.precision import (
    IMAGES,
    Agreement,
    Precision,
    check_precision,
    compare,
    made_up_image,
    tolerance_of,
)
from models.preprocess import as_frame
from models.segment import Segment
from tests.models.fake_cuda import FakeCuda
from tests.tiny_model import tiny_model

HALVES: tuple[Precision, ...] = ("float16", "bfloat16")
HALF_A_POINT = 0.005


def test_images_are_compared_one_by_one() -> None:
    """How many have the same likeliest class, and the worst difference as a share of its image's largest logit."""
    expected = [torch.tensor([[1.0, 2.0, -4.0]]), torch.tensor([[0.0, 100.0]])]
    found = [torch.tensor([[2.0, 1.0, -4.0]]), torch.tensor([[1.0, 100.0]])]
    assert compare(expected, found) == Agreement(images=2, same=1, apart=0.25)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_infinitely_far(value: float) -> None:
    assert compare([torch.ones(1, 2)], [torch.tensor([[1.0, value]])]).apart == float("inf")


def test_made_up_images_differ_and_have_an_images_values() -> None:
    """And are the same each time, so that two runs can be compared."""
    one, other = made_up_image(64, 0), made_up_image(64, 1)
    assert one.shape == (1, 3, 64, 64)
    assert torch.equal(one, made_up_image(64, 0))
    assert not torch.equal(one, other)
    assert -2.2 < one.min() < -0.5 < 0.5 < one.max() < 2.7


@pytest.mark.parametrize("precision", HALVES)
def test_a_start_in_half_precision_says_how_far_off_it_is(
    precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a warning, with numbers: nobody shall think the answers were float32's."""
    found = check_precision(tiny_model(), CudaExecutor(FakeCuda(), precision=precision), precision)
    assert found.images == IMAGES
    assert 0 < found.apart < tolerance_of(precision)
    said = capsys.readouterr().out
    assert "half precision: answers are not those of float32" in said
    assert f"{found.same} of {IMAGES} made-up images" in said


class Spoilt(TorchExecutor):
    """Its segments give what they are told to."""

    def __init__(self, outputs: torch.Tensor | Exception) -> None:
        super().__init__()
        self.outputs = outputs

    def compile(self, segment: Segment) -> SpoiltSegment:
        return SpoiltSegment(segment, self.outputs)


class SpoiltSegment:
    def __init__(self, segment: Segment, outputs: torch.Tensor | Exception) -> None:
        self.segment, self.outputs = segment, outputs

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        if isinstance(self.outputs, Exception):
            raise self.outputs
        return {self.segment.outputs[0]: self.outputs}

    execute = run

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None: ...


def test_a_network_that_overflows_is_refused() -> None:
    """It would answer nonsense; the operator is told what to set instead."""
    with pytest.raises(ConfigurationError, match=r"not finite.*Set CLEAVE_CLOUD_PRECISION to bfloat16"):
        check_precision(tiny_model(), Spoilt(torch.full((1, 7), float("inf"))), "float16")


def test_a_network_that_does_not_run_so_is_refused() -> None:
    """One that mixes its own constants in, say."""
    error = RuntimeError("mat1 and mat2 must have the same dtype")
    with pytest.raises(ConfigurationError, match=r"does not run in float16 \(mat1 and mat2.*=float32"):
        check_precision(tiny_model(), Spoilt(error), "float16")


@pytest.mark.parametrize("precision", HALVES)
def test_what_was_learnt_is_kept(precision: Precision) -> None:
    """On digits it has not seen a trained network is right as often within half a point, and agrees with itself."""
    digits = trained()
    graph = digits.model.graph
    segment = digits.model.segment(graph.names, [graph.sink])
    exact = TorchExecutor().compile(segment)
    halved = CudaExecutor(FakeCuda(), precision=precision).compile(segment)
    count = (
        100 if precision == "float16" else len(digits.frames)
    )  # few CPUs compute in float16; this one emulates
    frames = [{graph.source: as_frame(frame)} for frame in digits.frames[:count]]
    classes = digits.classes[:count]
    expected = [int(exact.run(frame)[graph.sink][0, 0, 0]) for frame in frames]
    found = [int(halved.run(frame)[graph.sink][0, 0, 0]) for frame in frames]
    right = sum(a == b for a, b in zip(expected, classes, strict=True)) / len(frames)
    right_halved = sum(a == b for a, b in zip(found, classes, strict=True)) / len(frames)
    assert right_halved >= right - HALF_A_POINT
    assert sum(a == b for a, b in zip(expected, found, strict=True)) / len(frames) >= 0.99
