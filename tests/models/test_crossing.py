"""Facts about crossing tensors: what arrives is what was sent, as it lay in memory, and nothing is copied."""

from __future__ import annotations

import itertools

import pytest
import torch

from common.errors import PlanError
from common.graph import ModelGraph
from models.crossing import from_wire, parts_to_wire, to_wire
from models.tensor_memory import dense, divided
from tests.models.wired import received

GRAPH = ModelGraph.from_links({"frame": 1, "a": 1, "b": 1}, [("frame", "a"), ("a", "b")])


def crossed(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Send tensors through the wire's bytes and back."""
    return tuple(received(GRAPH, to_wire(GRAPH, dict(zip(GRAPH.names, tensors, strict=False)))).values())


def counted(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_any_order_in_memory_arrives_as_it_was_sent(order: tuple[int, ...]) -> None:
    """Values and strides of a permuted tensor are those of the sender's, whatever the permutation."""
    sent = counted(2, 3, 4, 5).permute(order)
    (arrived,) = crossed(sent)
    assert torch.equal(arrived, sent)
    assert arrived.stride() == sent.stride()


def test_channels_last_is_sent_without_a_copy() -> None:
    """The payload is the tensor's own memory, and its order is told."""
    sent = counted(1, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    (entry,), (chunk,) = to_wire(GRAPH, {"a": sent})
    assert entry.order == (0, 2, 3, 1)
    sent[0, 0, 0, 0] = 77.0
    assert torch.frombuffer(chunk, dtype=torch.float32)[0] == 77.0


@pytest.mark.parametrize(
    "sent",
    [
        counted(4, 6)[:, ::2],
        counted(4, 6)[:, 1:4],
        counted(3, 1).expand(3, 5),
        counted(2, 8, 3, 3).contiguous(memory_format=torch.channels_last)[:, 2:5],
    ],
    ids=["every other", "a slice", "expanded", "some channels"],
)
def test_tensors_with_gaps_or_repeats_are_closed_up(sent: torch.Tensor) -> None:
    """A view that does not fill its memory is copied, and only its own values cross."""
    together, order = dense(sent)
    assert order == ()
    assert together.is_contiguous()
    (arrived,) = crossed(sent)
    assert torch.equal(arrived, sent)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 1), (1, 7, 1, 1)], ids=str)
def test_shapes_without_extent_cross_too(shape: tuple[int, ...]) -> None:
    """Scalars, empty tensors and dimensions of one element have no order to tell."""
    (arrived,) = crossed(torch.ones(shape))
    assert arrived.shape == shape
    assert torch.equal(arrived, torch.ones(shape))


def test_a_tensor_of_a_unit_beyond_the_graph_is_refused() -> None:
    """An index that is no unit of this graph raises PlanError."""
    entries, chunks = to_wire(GRAPH, {"b": torch.ones(3)})
    smaller = ModelGraph.from_links({"frame": 1, "a": 1}, [("frame", "a")])
    with pytest.raises(PlanError, match="tensor of unit 2: the graph has 2 units"):
        from_wire(smaller, entries, memoryview(bytearray(b"".join(chunks))))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_the_frames_of_a_batch_are_sent_as_each_by_itself(order: tuple[int, ...]) -> None:
    """Whatever the order in memory; and beside another tensor, with gaps, of which each has its rows, too."""
    whole = counted(4, 3, 4, 8).permute(order)
    count = whole.shape[0]
    gaps = counted(3 * count, 10)[:, :7]
    sent = parts_to_wire(GRAPH, {"a": whole, "b": gaps}, count)
    assert len(sent) == count
    for part, rows, wired in zip(divided(whole, count), divided(gaps, count), sent, strict=True):
        arrived = received(GRAPH, wired)
        assert torch.equal(arrived["a"], part)
        assert torch.equal(arrived["b"], rows)


def test_the_frames_of_a_batch_are_not_copied_where_they_lie_behind_each_other() -> None:
    """Row-major or channels last: each payload is that frame's part of the batch's own memory."""
    for layout in (torch.contiguous_format, torch.channels_last):
        whole = counted(2, 3, 4, 5).contiguous(memory_format=layout)
        (_, (first,)), (_, (second,)) = parts_to_wire(GRAPH, {"a": whole}, 2)
        whole[1] += 1000
        assert (
            max(memoryview(first).cast("B").cast("f")) < 1000 <= min(memoryview(second).cast("B").cast("f"))
        )


def test_a_batch_that_does_not_divide_is_not_sent() -> None:
    """Three rows are not two frames'."""
    with pytest.raises(RuntimeError, match="does not divide into 2 frames"):
        parts_to_wire(GRAPH, {"a": torch.zeros(3, 2)}, 2)
