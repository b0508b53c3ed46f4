"""Facts about lowering and raising a source's rate by what the plan sustains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common import limits
from common.plan import Cut, Mode, Plan, stages_of
from edge_daemon.rate_adapter import RateAdapter
from edge_daemon.sampling import Sampling
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
WHOLE = Cut.edge_only(GRAPH)
PLAN = Plan(
    epoch=1, mode=Mode.LIGHT, cut=WHOLE, stages=stages_of(WHOLE, GRAPH.sink), reason="", sustainable_fps=50.0
)
OVERLOADED = replace(PLAN, mode=Mode.OVERLOADED, sustainable_fps=2.0)


class Source:
    """Only its rate."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def set_rate(self, fps: float) -> None:
        self.rates.append(fps)


def adapter_of(source: Any, *, adapts: bool = True) -> RateAdapter:
    return RateAdapter(source, 10.0, adapts=adapts)


def test_an_overloaded_edge_takes_fewer_frames_and_later_all_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each change is said with its reason; looks between them change and say nothing."""
    source = Source()
    adapter = adapter_of(source)
    for second in range(3):
        adapter.look(OVERLOADED, float(second))
    assert source.rates == [pytest.approx(2.0 * (1 - limits.ADAPT_MARGIN))]
    assert adapter.sampling.to_status()["reason"] == "no cut keeps 10 frames/s, the best sustains 2"
    for second in range(3, 20):
        adapter.look(PLAN, float(second))
    assert source.rates[1:] == [10.0]
    assert adapter.sampling == Sampling.at(10.0)
    said = capsys.readouterr().out
    assert said.count("the sampling rate is lowered") == said.count("the sampling rate is raised") == 1


def test_unless_it_is_asked_for_nothing_is_adapted() -> None:
    """The rate is the operator's."""
    source = Source()
    adapter_of(source, adapts=False).look(OVERLOADED, 0.0)
    assert source.rates == []
