"""Facts about who is let in."""

from __future__ import annotations

import pytest

from cloud_daemon.greeting import loser_at_the_door, refusal, unwelcome
from common import limits
from common.wire.messages import PROTOCOL
from tests.cloud_daemon.edge import MODEL, hello
from tests.tiny_model import tiny_model


def test_an_edge_with_a_model_that_is_held_is_let_in() -> None:
    """It may be any of those that are held."""
    assert refusal(hello(), [MODEL]) is None
    assert refusal(hello(), [tiny_model(1), MODEL]) is None


def test_another_protocol_is_refused_with_both_numbers() -> None:
    """Before the model is looked at."""
    refused = refusal(hello(protocol=PROTOCOL + 1), [tiny_model(1)])
    assert refused is not None
    assert refused.kind == "protocol"
    assert f"{PROTOCOL + 1}, this cloud {PROTOCOL}" in refused.reason


def test_another_model_is_refused_with_all_fingerprints() -> None:
    """What differs from the nearest one is named, and every model that is held."""
    refused = refusal(hello(), [tiny_model(1), tiny_model(2)])
    assert refused is not None
    assert refused.kind == "model"
    assert "different models (weights differ from " in refused.reason
    for model in (MODEL, tiny_model(1)):
        assert model.fingerprint.weights[:12] in refused.reason


FULL = limits.MAX_GREETING_CONNECTIONS


@pytest.mark.parametrize(
    ("waiting", "loser"),
    [
        ([], None),
        (["a"] * (FULL - 1), None),
        (["a"] * FULL, 0),
        (["new"] * FULL, 0),
        ([f"{n}" for n in range(FULL)], 0),
        (["0", "a", *(f"{n}" for n in range(1, FULL - 2)), "a"], 1),
        (["0", "a", "a", *(f"{n}" for n in range(1, FULL - 3)), "new"], 1),
        (["0", "new", "new", *(f"{n}" for n in range(1, FULL - 4)), "a", "a"], 1),
    ],
)
def test_a_full_door_makes_room_at_the_cost_of_who_holds_most(waiting: list[str], loser: int | None) -> None:
    """The oldest of that address, which may be the newcomer's; of several such addresses the oldest of all."""
    assert len(waiting) <= FULL
    assert loser_at_the_door("new", waiting) == loser


def test_the_certificate_names_the_edge() -> None:
    """Whoever greets with another name is refused, list or not; without TLS there is nothing to compare."""
    assert unwelcome(hello(edge="porch"), "porch", None) is None
    assert unwelcome(hello(edge="porch"), None, None) is None
    refused = unwelcome(hello(edge="porch"), "shed", frozenset({"porch", "shed"}))
    assert refused is not None
    assert refused.kind == "access"


def test_a_list_lets_in_proven_names_only() -> None:
    """A name that is only claimed is on no list."""
    allowed = frozenset({"porch"})
    assert unwelcome(hello(edge="porch"), "porch", allowed) is None
    assert unwelcome(hello(edge="porch"), None, allowed) is not None
    assert unwelcome(hello(edge="shed"), "shed", allowed) is not None
