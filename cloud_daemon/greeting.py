"""Who is let in: an edge that speaks our protocol and holds a model that is held here. Decisions only."""

from __future__ import annotations

from collections.abc import Sequence

from common.profile import ModelFingerprint
from common.wire.messages import PROTOCOL, Hello, Refused, printable
from models.model import Model


def refusal(hello: Hello, held: Sequence[Model]) -> Refused | None:
    """Return why the edge that says `hello` is not let in; none if it is."""
    if hello.protocol != PROTOCOL:
        reason = f"the edge speaks protocol {hello.protocol}, this cloud {PROTOCOL}"
        return Refused(kind="protocol", reason=printable(reason))
    if all(hello.fingerprint != model.fingerprint for model in held):
        return Refused(kind="model", reason=printable(_mismatch(hello.model, hello.fingerprint, held)))
    return None


def _mismatch(edge_model: str, edge: ModelFingerprint, held: Sequence[Model]) -> str:
    """Say how an edge's model differs from what the cloud holds, with all fingerprints."""
    nearest = min(held, key=lambda model: len(edge.differences(model.fingerprint)))
    parts = f"{', '.join(edge.differences(nearest.fingerprint))} differ"
    if len(held) > 1:
        parts += f" from {nearest.name}'s"
    shown = "; ".join(f"{model.name} with weights {model.weights}: {model.fingerprint}" for model in held)
    return (
        f"edge and cloud hold different models ({parts}). Edge: {edge_model}: {edge}. Cloud: {shown}. "
        "Give both the same CLEAVE_MODEL, CLEAVE_WEIGHTS and torchvision version"
    )
