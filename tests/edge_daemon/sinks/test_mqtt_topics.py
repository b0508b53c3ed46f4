"""Facts about topics: names that cannot break out of theirs, and what Home Assistant is told."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.sinks.mqtt_topics import EdgeState, Topics, discovery, level_of


@pytest.mark.parametrize(
    ("name", "level"),
    [("porch", "porch"), ("a/b", "a%2Fb"), ("+", "%2B"), ("#1", "%231"), ("50%", "50%25"),
     ("$SYS", "%24SYS"), ("Tür", "Tür")],
)  # fmt: skip
def test_a_name_is_one_level(name: str, level: str) -> None:
    assert level_of(name) == level


@given(st.text(min_size=1, max_size=50))
def test_no_name_breaks_out_of_its_level(name: str) -> None:
    """Whatever it is: no further level, no wildcard, no control; and different names are different levels."""
    level = level_of(name)
    assert level
    assert not re.search(r"[/+#\x00-\x1f]", level)
    assert not level.startswith("$")
    level.encode()
    if all(not 0xD800 <= ord(char) <= 0xDFFF for char in name):
        assert unquote(level) == name


def test_topics_lie_under_prefix_and_edge() -> None:
    topics = Topics("house/cleave", "porch/1")
    assert topics.result == "house/cleave/porch%2F1/result"
    assert topics.status == "house/cleave/porch%2F1/status"
    assert topics.state == "house/cleave/porch%2F1/state"


def test_a_client_id_is_stable_and_no_others() -> None:
    """Another edge, also one that differs in what is escaped, has another; brokers take all of them."""
    ids = [Topics("cleave", name).client_id for name in ("porch", "porch", "porch/1", "porch_1", "x" * 300)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids)


def test_discovery_tells_sensors_of_topics_that_exist() -> None:
    """Each with an id of its own, one device, and the edge's status for whether it is there."""
    topics = Topics("cleave", "Tür/1")
    told = {topic: json.loads(payload) for topic, payload in discovery("homeassistant", topics, "resnet18")}
    assert len(told) == 7
    assert all(
        re.fullmatch(r"homeassistant/(binary_)?sensor/[\w-]+/\w+/config", topic, re.ASCII) for topic in told
    )
    assert len({config["unique_id"] for config in told.values()}) == 7
    assert len({json.dumps(config["device"]) for config in told.values()}) == 1
    assert {config["state_topic"] for config in told.values()} == {topics.result, topics.state, topics.status}
    for topic, config in told.items():
        if "binary" not in topic:
            assert config["availability_topic"] == topics.status
            for name in re.findall(r"value_json\.(\w+)", config["value_template"]):
                known = json.loads(EdgeState().to_json()).keys() | {"top5", "ms"}
                assert name in known


def test_a_state_is_made_of_the_edges_status() -> None:
    """What is not there yet is null."""
    assert json.loads(EdgeState.of({}, 0.0, 3, 0).to_json())["cut"] is None
    state = EdgeState.of({"plan": {"cut": "x", "sustainable_fps": 1.23456}, "link": {}}, 9.876, 3, 4)
    assert (state.cut, state.sustainable_fps, state.fps, state.waiting, state.dropped) == (
        "x",
        1.235,
        9.88,
        3,
        4,
    )
