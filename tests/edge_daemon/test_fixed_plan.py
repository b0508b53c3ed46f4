"""Facts about a plan that the operator has fixed, by its label or by a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.plan import Cut
from edge_daemon.fixed_plan import FixedPlan
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph


@pytest.mark.parametrize("label", ["edge-only", "cloud-only", "after resize", "after first + second"])
def test_a_label_is_the_cut_of_that_name(label: str) -> None:
    """What logs and records call a cut can be asked for."""
    fixed = FixedPlan(label, GRAPH)
    assert fixed.cut().label == label
    assert fixed.may_use_cloud == (label != "edge-only")


@pytest.mark.parametrize(
    "text", ["after nothing", "after first + add", "after", "best", "@/no/such/file", "@~nobody-here/plan"]
)
def test_what_is_no_cut_of_the_model_is_the_operators_error(text: str) -> None:
    """At the start, with the setting named."""
    with pytest.raises(ConfigurationError, match=f"CLEAVE_EDGE_PLAN={text.replace('+', '[+]')}: "):
        FixedPlan(text, GRAPH)


def test_a_file_may_change_while_the_daemon_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each look reads it; what names no cut, or cannot be read, leaves the last one in force and is told."""
    path = tmp_path / "cut"
    path.write_text("edge-only\n")
    fixed = FixedPlan(f"@{path}", GRAPH)
    assert fixed.cut() == Cut.edge_only(GRAPH)
    assert fixed.may_use_cloud, "it may name another cut later"
    path.write_text("after resize\n")
    assert fixed.cut().label == "after resize"
    for damage in (b"", b"after nothing", b"\xff\xfe"):
        path.write_bytes(damage)
        assert fixed.cut().label == "after resize"
        assert "cannot be read" in capsys.readouterr().out
    path.unlink()
    assert fixed.cut().label == "after resize"
    path.write_text("cloud-only")
    assert fixed.cut().label == "cloud-only"
