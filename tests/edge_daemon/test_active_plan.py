"""Facts about what it takes to run a plan on the edge."""

from __future__ import annotations

import pytest
import torch

from common.plan import ANSWER, Cut, stages_of
from edge_daemon.active_plan import prepare_request, run_head
from models.preprocess import as_frame
from tests.edge_daemon.bench import bench
from tests.event_loop import run
from tests.tiny_model import jpeg, tiny_model

GRAPH = tiny_model().graph


@pytest.mark.parametrize("count", range(1, len(GRAPH) + 1))
def test_every_plan_can_be_finished_without_the_cloud(count: int) -> None:
    """A cut that uses the cloud comes with the rest for the edge; head and rest together are the model."""

    async def main() -> None:
        with bench() as tiny:
            cut = Cut.of(GRAPH, GRAPH.names[:count])
            active = await tiny.plan(cut)
            parts = active.parts
            assert (parts.head is None) == (count == 1), "the source alone is nothing to compute"
            assert (parts.rest is None) == (count == len(GRAPH))
            sent = run_head(cut, parts.head, tiny.stages, as_frame(jpeg()))
            tensors = sent.crossing
            assert set(tensors) == set(cut.crossing or (GRAPH.sink,))
            assert (sent.head_ms is None) == (parts.head is None)
            if parts.rest is not None:
                tensors = parts.rest.run(tensors)
            assert tensors[GRAPH.sink].shape == (1, 5, 2)

    run(main())


def test_what_follows_the_frame_itself_is_the_whole_model_that_is_ready_at_all_times() -> None:
    """A switch to the cloud alone has nothing to compile on the edge."""

    async def main() -> None:
        with bench() as tiny:
            alone = await tiny.plan(Cut.edge_only(GRAPH))
            cloud_only = await tiny.plan(Cut.cloud_only(GRAPH))
            assert cloud_only.parts.rest is alone.parts.head

    run(main())


def test_crossing_tensors_are_sent_by_the_codecs_of_the_cut() -> None:
    """Entries name the codecs, the payload is shorter, and the tensors kept for the edge's own use are whole."""

    async def main() -> None:
        with bench() as tiny:
            units = ["frame", "decode", "resize", "normalize", "first", "second"]
            cut = Cut.of(GRAPH, units, {"first": "int8", "second": "f16"})
            parts = (await tiny.plan(cut)).parts
            sent = run_head(cut, parts.head, tiny.stages, as_frame(jpeg()))
            assert [entry.codec for entry in sent.entries] == ["int8", "f16"]
            assert all(tensor.dtype == torch.float32 for tensor in sent.crossing.values())
            raw = sum(tensor.numel() * 4 for tensor in sent.crossing.values())
            assert sum(memoryview(chunk).nbytes for chunk in sent.chunks) < raw / 2

    run(main())


def test_a_stage_is_asked_for_by_indices() -> None:
    """Names do not cross the wire: units are indices in the graph that both sides have."""
    cut = Cut.of(GRAPH, ["frame", "decode", "resize", "normalize", "first", "second"])
    request = prepare_request(7, stages_of(cut, GRAPH.sink)[1], GRAPH)
    assert request.epoch == 7
    assert [GRAPH.names[i] for i in request.units] == ["add", "third", "classify", "answer"]
    assert [GRAPH.names[i] for i in request.inputs] == ["first", "second"]
    assert [(GRAPH.names[i], to) for i, to in request.outputs] == [("answer", ANSWER)]
