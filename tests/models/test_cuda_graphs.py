"""Facts about CUDA graphs: when one is captured, when it is used, and that it computes the same."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest
import torch

from models import cuda_graphs
from models.cuda_device import Memory, working
from models.cuda_graphs import GraphRoom, SegmentGraphs, is_worth, why_no_room
from tests.models.fake_cuda import GIB, FakeCuda

EAGER_S = 0.004


class Forward:
    """Three times the input, and the input plus one: each takes its time, and more after a pause."""

    def __init__(self, cuda: FakeCuda, cold_s: float = 0.0) -> None:
        self.cuda, self.cold_s, self.is_cold = cuda, cold_s, False

    def __call__(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        self.cuda.now += EAGER_S + (self.cold_s if self.is_cold else 0.0)
        self.is_cold = False
        return 3 * inputs[0], inputs[0] + 1

    def pause(self, seconds: float) -> None:
        self.is_cold = True


def graphs(cuda: FakeCuda, room: GraphRoom | None = None, cold_s: float = 0.0) -> SegmentGraphs:
    forward = Forward(cuda, cold_s)
    return SegmentGraphs(forward, cuda, room or GraphRoom(cuda), 1e-4, cuda.clock, forward.pause)


def consider(found: SegmentGraphs, cuda: FakeCuda, *inputs: torch.Tensor) -> None:
    with working(cuda):
        found.consider(inputs)


def test_a_graph_must_save_something() -> None:
    """As fast is not enough: it holds memory, and copies once more."""
    assert is_worth(10.0, 9.5)
    assert not is_worth(10.0, 9.6)
    assert not is_worth(10.0, 12.0)


def test_number_and_memory_are_bounded() -> None:
    """By what all hold together, and by what must be left for frames; the reason has the numbers."""
    roomy = Memory(free=8 * GIB, total=16 * GIB)
    assert why_no_room(0, 0, roomy) is None
    assert why_no_room(63, 4 * GIB - 1, roomy) is None
    assert why_no_room(64, 0, roomy) == "64 are kept, the limit is 64"
    assert why_no_room(3, 4 * GIB, roomy) == "they hold 4096 MiB, the limit is 25% of 16384"
    assert why_no_room(3, GIB, Memory(GIB, 16 * GIB)) == "1024 of 16384 MiB are free, too few"


def test_what_is_faster_and_the_same_is_used() -> None:
    """For inputs of its shapes, whatever their values, and whatever lies between two uses."""
    cuda = FakeCuda()
    found = graphs(cuda)
    first = torch.ones(2, 5)
    assert found.find([first]) is None
    consider(found, cuda, first)
    graphed = found.find([torch.zeros(2, 5)])
    assert graphed is not None
    with working(cuda):
        outputs = graphed([first])
        graphed([7 * first])
    assert torch.equal(outputs[0], 3 * first), "the outputs are not the next replay's"
    assert torch.equal(outputs[1], first + 1)


@pytest.mark.parametrize("other", [torch.ones(3, 5), torch.ones(2, 5, dtype=torch.float64)])
def test_other_shapes_and_types_run_eagerly(other: torch.Tensor) -> None:
    cuda = FakeCuda()
    found = graphs(cuda)
    consider(found, cuda, torch.ones(2, 5))
    assert found.find([other]) is None
    consider(found, cuda, other)
    assert found.find([other]) is not None
    assert len(cuda.graphs) == 2


def test_memory_order_does_not_matter() -> None:
    """Edges send in channels-last order, examples are row-major: one graph serves both."""
    cuda = FakeCuda()
    found = graphs(cuda)
    image = torch.randn(2, 3, 4, 5)
    consider(found, cuda, image)
    turned = image.contiguous(memory_format=torch.channels_last)
    graphed = found.find([turned])
    assert graphed is not None
    with working(cuda):
        assert torch.equal(graphed([turned])[0], 3 * image)


def test_what_is_not_faster_is_not_used_and_not_tried_again() -> None:
    """Nor is its memory kept."""
    cuda = FakeCuda(replay_s=EAGER_S)
    found = graphs(cuda)
    for _ in range(2):
        consider(found, cuda, torch.ones(2, 5))
    assert found.find([torch.ones(2, 5)]) is None
    assert len(cuda.graphs) == 1


def test_what_is_only_fast_in_a_loop_is_not_fast() -> None:
    """Frames come after a pause, when launching kernels one by one takes longer than it did: the graph gains."""
    cuda = FakeCuda(replay_s=EAGER_S)
    found = graphs(cuda, cold_s=0.1 * EAGER_S)
    consider(found, cuda, torch.ones(2, 5))
    assert found.find([torch.ones(2, 5)]) is not None


def test_what_computes_something_else_is_not_used() -> None:
    """A graph that gives what it was captured with is right for those values, and is found out by others."""
    cuda = FakeCuda(stale=True)
    found = graphs(cuda)
    consider(found, cuda, torch.ones(2, 5))
    assert found.find([torch.ones(2, 5)]) is None


def test_what_cannot_be_captured_runs_eagerly_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    """After a failed capture none is tried any more, for no segment; graphs that were made before are used on."""
    cuda = FakeCuda()
    room = GraphRoom(cuda)
    earlier, found = graphs(cuda, room), graphs(cuda, room)
    consider(earlier, cuda, torch.ones(1, 5))
    cuda.refuses = "operation not permitted when stream is capturing"
    for size in (1, 2, 4):
        consider(found, cuda, torch.ones(size, 5))
        assert found.find([torch.ones(size, 5)]) is None
    said = capsys.readouterr().out
    assert said.count("kernels are launched one by one") == 1
    assert "operation not permitted" in said
    assert not cuda.queued
    cuda.refuses = ""
    consider(found, cuda, torch.ones(1, 5))
    assert found.find([torch.ones(1, 5)]) is None
    assert earlier.find([torch.ones(1, 5)]) is not None


def test_graphs_that_nobody_keeps_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments share the device's room; one that is dropped gives its part back, and no capture is tried without."""
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    cuda = FakeCuda()
    room = GraphRoom(cuda)
    one, other = graphs(cuda, room), graphs(cuda, room)
    consider(one, cuda, torch.ones(1, 5))
    consider(one, cuda, torch.ones(2, 5))
    consider(other, cuda, torch.ones(1, 5))
    assert other.find([torch.ones(1, 5)]) is None
    assert len(cuda.graphs) == 2
    del one
    cuda.graphs.clear()
    gc.collect()
    consider(other, cuda, torch.ones(1, 5))
    assert other.find([torch.ones(1, 5)]) is not None
