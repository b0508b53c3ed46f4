"""Facts about plans: whatever the legal cut, its stages are the whole model, linked by the crossing tensors."""

from __future__ import annotations

import random

import pytest

from common.errors import PlanError
from common.graph import ModelGraph, TensorSpec, Unit
from common.partition.closed_sets import enumerate_closed_sets
from common.plan import ANSWER, Cut, Prediction, stages_of
from tests.graphs import random_problem


def random_cuts() -> list[tuple[ModelGraph, Cut]]:
    rng = random.Random(5)
    found = []
    for _ in range(40):
        graph = random_problem(rng).graph
        sets = enumerate_closed_sets(graph)
        found += [(graph, sets.cut(row)) for row in range(min(len(sets), 20))]
    return found


CUTS = random_cuts()


def test_stages_partition_the_units() -> None:
    """Each unit runs in exactly one stage, in topological order, the source on the edge."""
    for graph, cut in CUTS:
        stages = stages_of(cut, graph.sink)
        placed = [unit for stage in stages for unit in stage.units]
        assert sorted(placed) == sorted(graph.names)
        assert graph.source in stages[0].units
        for stage in stages:
            assert list(stage.units) == [name for name in graph.names if name in stage.units]


def test_a_stage_is_given_what_its_units_read() -> None:
    """The tensors that the head hands on are those the tail reads from it, no more and no fewer."""
    split = [(graph, cut) for graph, cut in CUTS if cut.cloud_units]
    assert len(split) > 50
    for graph, cut in split:
        head, tail = stages_of(cut, graph.sink)
        read = {name for unit in tail.units for name in graph[unit].inputs if name not in tail.units}
        assert set(tail.inputs) == read
        assert [output.unit for output in head.outputs] == list(tail.inputs)
        assert {output.destination for output in head.outputs} == {tail.worker}


def test_the_answer_leaves_the_last_stage() -> None:
    """However the model is cut, exactly one tensor goes to whoever asked: the sink's."""
    for graph, cut in CUTS:
        outputs = [output for stage in stages_of(cut, graph.sink) for output in stage.outputs]
        assert [output.unit for output in outputs if output.destination == ANSWER] == [graph.sink]


def test_the_ends_are_known_by_name() -> None:
    """Only the cut with all units on the edge needs no cloud; only the one with the source alone is cloud-only."""
    for graph, cut in CUTS:
        assert (cut.label == "edge-only") == (cut == Cut.edge_only(graph)) == (not cut.cloud_units)
        if cut.label == "cloud-only":
            assert cut == Cut.cloud_only(graph)


@pytest.mark.parametrize(("edge", "link", "cloud"), [(3.0, 2.0, 1.0), (1.0, 3.0, 2.0), (1.0, 2.0, 3.0)])
def test_the_bottleneck_is_the_slowest_of_the_three(edge: float, link: float, cloud: float) -> None:
    """The stages overlap, so the slowest one sets the rate."""
    assert Prediction(edge_ms=edge, link_ms=link, cloud_ms=cloud, latency_ms=9.0).bottleneck_ms == 3.0


def test_a_codec_is_part_of_the_cut_and_of_its_label() -> None:
    """A label names the codecs that are not raw, is read back, and all raw is the plain cut."""
    graph = ModelGraph.from_links(
        {"frame": 1, "a": 8, "b": 8, "c": 1}, [("frame", "a"), ("frame", "b"), ("a", "c"), ("b", "c")]
    )
    units = ["frame", "a", "b"]
    cut = Cut.of(graph, units, {"b": "int8-zstd"})
    assert cut.label == "after a + b as int8-zstd"
    assert cut.codecs == ("raw", "int8-zstd")
    assert cut.codec_of == {"a": "raw", "b": "int8-zstd"}
    assert Cut.from_label(graph, cut.label) == cut
    assert Cut.of(graph, units, {"a": "raw"}) == Cut.of(graph, units) != cut
    assert Cut.from_label(graph, "after frame as zstd").label == "after frame as zstd"


@pytest.mark.parametrize(
    ("codecs", "reason"),
    [
        ({"a": "zip"}, "'zip' is no codec; there are raw, zstd"),
        ({"frame": "zstd"}, "'frame' has a codec and does not cross"),
        ({"a": "jpeg90"}, r"jpeg90 is not for 'a', which is float32\[1, 4\]"),
    ],
)
def test_a_codec_that_cannot_be_is_refused(codecs: dict[str, str], reason: str) -> None:
    """Unknown names, units that do not cross and tensors of another kind are told with the culprit."""
    graph = ModelGraph(
        [
            Unit("frame", (), 1),
            Unit("a", ("frame",), 16, TensorSpec("float32", (1, 4))),
            Unit("b", ("a",), 1),
        ]
    )
    with pytest.raises(PlanError, match=reason):
        Cut.of(graph, ["frame", "a"], codecs)
