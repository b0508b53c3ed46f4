"""The experiment as a whole: what may go on where another run stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pareto import Experiment, read_arguments


def experiment(out: Path) -> Experiment:
    return Experiment("m", "random:0", "torch", 4.0, (2e7,), (1.0,), 2, out)


@pytest.mark.parametrize(
    "changes", [{"weights": "random:1"}, {"executor": "onnxruntime"}, {"slowdown": 8.0}], ids=str
)
def test_figures_of_another_setting_are_not_gone_on_with(tmp_path: Path, changes: dict[str, object]) -> None:
    """The same setting goes on; another one is refused, and both are named."""
    assert experiment(tmp_path).is_another_than_before() is None
    assert experiment(tmp_path).is_another_than_before() is None
    reason = replace(experiment(tmp_path), **changes).is_another_than_before()  # type: ignore[arg-type]
    assert reason is not None
    assert str(next(iter(changes.values()))) in reason
    assert "random:0" in reason


def test_arguments_make_the_grid() -> None:
    """Rates and delays make every pair; what is no rate is an error of usage."""
    found = read_arguments(["--model", "m", "--rates", "8mbit,1MB/s", "--delays-ms", "1,20"])
    assert found.links == [(8e6, 1.0), (8e6, 20.0), (8e6, 1.0), (8e6, 20.0)]
    with pytest.raises(SystemExit, match="2"):
        read_arguments(["--model", "m", "--rates", "fast"])
