"""Facts about what the edge's status says of a plan. All of it together: test_view.py."""

from __future__ import annotations

import json
import math

import pytest

from common.json_text import to_json
from common.plan import Cut, Prediction
from edge_daemon.status import plan_document
from tests.edge_daemon.test_switch_log import CLOUD, EDGE, plan


@pytest.mark.parametrize("cut", [EDGE, CLOUD])
def test_a_plan_is_told_with_its_cut(cut: Cut) -> None:
    """What crosses is there with its codec; a rate that is not known is no number."""
    document = plan_document(plan(3, cut, sustainable_fps=math.inf))
    assert document["cut"] == cut.label
    assert document["units"] == {"edge": len(cut.edge_units), "cloud": len(cut.cloud_units)}
    assert document["crossing"] == [{"unit": unit, "codec": "raw"} for unit in cut.crossing]
    assert json.loads(to_json(document))["sustainable_fps"] is None


def test_a_prediction_is_told_by_its_parts() -> None:
    """None where there is none."""
    predicted = Prediction(edge_ms=5.004, link_ms=7.0, cloud_ms=2.0, latency_ms=14.5)
    document = plan_document(plan(3, CLOUD, prediction=predicted))
    assert document["predicted_latency_ms"] == 14.5
    assert document["predicted_ms"] == {"edge": 5.0, "link": 7.0, "cloud": 2.0}
    assert plan_document(plan(3, CLOUD))["predicted_ms"] is None
