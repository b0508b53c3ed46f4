import pytest

from common.errors import PlanError
from common.graph import ModelGraph, TensorSpec, Unit
from common.plan import ANSWER, Cut, Output, Stage, stages_of


def diamond() -> ModelGraph:
    return ModelGraph.from_links(
        {"s": 8, "a": 4, "b": 2, "t": 1}, [("s", "a"), ("s", "b"), ("a", "t"), ("b", "t")]
    )


def test_links_in_any_order_become_topological_order() -> None:
    """However links are listed, every unit comes after its inputs."""
    graph = ModelGraph.from_links({"t": 1, "m": 2, "s": 3}, [("m", "t"), ("s", "m")])
    assert graph.names == ("s", "m", "t")
    assert (graph.source, graph.sink) == ("s", "t")


@pytest.mark.parametrize(
    ("units", "links", "culprit"),
    [
        ({"s": 1, "a": 1, "b": 1}, [("s", "a"), ("a", "b"), ("b", "a")], "cycle"),
        ({"s": 1, "t": 1}, [("s", "x")], "'x' is no unit"),
        ({"s": 1, "r": 1, "t": 1}, [("s", "t"), ("r", "t")], "one source; this graph has 2"),
        ({"s": 1, "t": 1, "u": 1}, [("s", "t"), ("s", "u")], "one sink; this graph has 2"),
    ],
)
def test_a_graph_that_is_none_is_refused_by_name(
    units: dict[str, int], links: list[tuple[str, str]], culprit: str
) -> None:
    """Cycles, unknown units, and several sources or sinks are refused, naming what is wrong."""
    with pytest.raises(PlanError, match=culprit):
        ModelGraph.from_links(units, links)


def test_units_listed_twice_or_too_early_are_refused() -> None:
    """The constructor takes units in topological order only, each once."""
    with pytest.raises(PlanError, match="'a' is listed twice"):
        ModelGraph([Unit("a", (), 1), Unit("a", (), 1)])
    with pytest.raises(PlanError, match="'a' is listed before its input 'b'"):
        ModelGraph([Unit("a", ("b",), 1), Unit("b", (), 1)])


def test_a_tensor_crosses_once_however_many_read_it() -> None:
    """The crossing set names a unit once though two cloud units read it (planning.md §5, case 4)."""
    assert Cut.of(diamond(), ["s"]).crossing == ("s",)
    assert Cut.of(diamond(), ["s", "a"]).crossing == ("s", "a")
    assert Cut.of(diamond(), ["s", "a", "b"]).crossing == ("a", "b")


def test_a_cut_must_be_closed_and_hold_the_source() -> None:
    """A set with a unit but not its input, or without the source, is no cut."""
    with pytest.raises(PlanError, match=r"not a closed set: 't' is on the edge, its input 'b' is not"):
        Cut.of(diamond(), ["s", "a", "t"])
    with pytest.raises(PlanError, match="source 's' must be on the edge"):
        Cut.of(diamond(), [])
    with pytest.raises(PlanError, match="'z' is no unit"):
        Cut.of(diamond(), ["s", "z"])


def test_labels_say_what_a_cut_is() -> None:
    """The two ends have names of their own; others are named by what crosses."""
    graph = diamond()
    assert Cut.edge_only(graph).label == "edge-only"
    assert Cut.cloud_only(graph).label == "cloud-only"
    assert Cut.of(graph, ["s", "a", "b"]).label == "after a + b"


def test_a_label_names_its_cut() -> None:
    """The crossing units determine the cut: every legal cut is found again from its label."""
    graph = diamond()
    sets = [["s"], ["s", "a"], ["s", "b"], ["s", "a", "b"], ["s", "a", "b", "t"]]
    for members in sets:
        cut = Cut.of(graph, members)
        assert Cut.from_label(graph, cut.label) == cut


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        ("after z", "'z' is no unit of this graph"),
        ("before a", "is not edge-only, cloud-only, or after UNIT"),
        ("after a", "is no cut: 'after s \\+ a' is what these units make"),
    ],
)
def test_a_label_that_names_no_cut_is_refused(label: str, complaint: str) -> None:
    """Unknown units and units that do not cross by themselves are told, with what would."""
    with pytest.raises(PlanError, match=complaint):
        Cut.from_label(diamond(), label)


def test_stages_hand_the_crossing_tensors_on() -> None:
    """The head's outputs are the tail's inputs, and the last stage's output is the answer."""
    head, tail = stages_of(Cut.of(diamond(), ["s", "a"]), "t")
    assert head == Stage("edge", ("s", "a"), (), (Output("s", "cloud"), Output("a", "cloud")))
    assert tail == Stage("cloud", ("b", "t"), ("s", "a"), (Output("t", ANSWER),))
    assert stages_of(Cut.edge_only(diamond()), "t") == (
        Stage("edge", ("s", "a", "b", "t"), (), (Output("t", ANSWER),)),
    )


def test_the_fingerprint_is_of_the_structure_not_of_the_sizes() -> None:
    """Frames differ in size, the graph does not; another link is another graph."""
    graph = diamond()
    assert graph.with_output_bytes({"s": 999}).fingerprint == graph.fingerprint
    other = ModelGraph.from_links({"s": 8, "a": 4, "b": 2, "t": 1}, [("s", "a"), ("a", "b"), ("b", "t")])
    assert other.fingerprint != graph.fingerprint


def test_tensor_specs_know_their_bytes_and_refuse_unknown_types() -> None:
    """Sizes follow from type and shape; object arrays and the like do not exist here."""
    assert TensorSpec("float16", (2, 3)).nbytes == 12
    assert TensorSpec("float32", ()).nbytes == 4
    with pytest.raises(PlanError, match="object"):
        TensorSpec("object", (1,))
