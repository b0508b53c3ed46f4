"""Facts about docs/seeing.md and the dashboard: both speak of metrics that there are."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "seeing.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "docs" / "grafana" / "cleave.json").read_text(encoding="utf-8")
)


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_metrics", ROOT / "docs" / "write_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def registered() -> set[str]:
    """Every name that a scrape may show, of both daemons."""
    names = set()
    for name, kind, _, _ in writer().rows():
        names |= (
            {f"{name}{part}" for part in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
        )
    return names


def expressions() -> list[str]:
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    found += [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    return found + [one["query"]["query"] for one in DASHBOARD["templating"]["list"]]


def test_every_metric_of_the_dashboard_is_there() -> None:
    """A metric that was renamed would leave an empty panel."""
    named = {name for text in expressions() for name in re.findall(r"cleave_\w+", text)}
    assert len(named) > 30
    assert named <= registered()


def test_panels_have_a_place_of_their_own() -> None:
    """None lies upon another, and none is beyond the grid."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_table_of_metrics_is_up_to_date() -> None:
    """It is written from the metrics themselves (`make docs`)."""
    assert writer().table() in PAGE


def test_names_say_their_units() -> None:
    """Counters end in _total, times are seconds, sizes bytes; every metric says whose it is and what it means."""
    for name, kind, _, help in writer().rows():
        assert name.startswith(("cleave_edge_", "cleave_cloud_"))
        assert name.endswith("_total") is (kind == "counter"), name
        assert help.endswith("."), name
        assert not re.search(r"_(ms|mbit|kb|mb|percent)(_|$)", name), name


@pytest.mark.parametrize("picture", re.findall(r"\((pictures/[\w-]+\.png)\)", PAGE))
def test_every_picture_is_there(picture: str) -> None:
    """And small enough to be loaded with a page."""
    assert 10_000 < (ROOT / "docs" / picture).stat().st_size < 400_000


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))))
def test_every_proof_is_there(test: str) -> None:
    """A threat whose test is gone is not answered."""
    assert (ROOT / test).exists()
