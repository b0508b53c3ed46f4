"""The picture of a cut: well-formed, every unit in it, what crosses drawn boldly."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from common.graph import ModelGraph
from common.plan import Cut
from edge_daemon.commands.cut_diagram import COLUMNS, draw_cut

SVG = "{http://www.w3.org/2000/svg}"


def parse(graph: ModelGraph, edge: list[str]) -> tuple[list[str], int]:
    """Return the titles of the boxes and the number of bold links."""
    root = ElementTree.fromstring(draw_cut(graph, Cut.of(graph, edge), "a < b & c"))
    titles = [group.findtext(f"{SVG}title") or "" for group in root.iter(f"{SVG}g")]
    links = [path for path in root.iter(f"{SVG}path") if path.get("fill") == "none"]
    return titles, sum(path.get("stroke-width") is not None for path in links)


def test_every_unit_stands_where_it_runs() -> None:
    """Each unit has one box that says its name, its bytes and its side; names need no care in XML."""
    graph = ModelGraph.from_links({"s": 1000, "a<b": 4, "t": 1}, [("s", "a<b"), ("a<b", "t"), ("s", "t")])
    titles, bold = parse(graph, ["s", "a<b"])
    assert titles == [
        "s: 1,000 bytes out, on the edge",
        "a<b: 4 bytes out, on the edge",
        "t: 1 bytes out, in the cloud",
    ]
    assert bold == 2


def test_long_models_run_over_several_lines() -> None:
    """A chain longer than a line goes on in the next one, and nothing is lost."""
    names = [f"u{i}" for i in range(3 * COLUMNS)]
    graph = ModelGraph.from_links(dict.fromkeys(names, 1), list(itertools.pairwise(names)))
    titles, bold = parse(graph, names)
    assert len(titles) == len(names)
    assert bold == 0
