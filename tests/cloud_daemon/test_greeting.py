"""Facts about who is let in."""

from __future__ import annotations

from cloud_daemon.greeting import refusal
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
