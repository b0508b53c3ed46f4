"""Who is let in: an edge that is who it says, speaks our protocol and holds a model held here. Decisions only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from common import limits
from common.profile import ModelFingerprint
from common.wire.messages import PROTOCOL, Hello, Refused, printable
from models.model import Model


def loser_at_the_door(newcomer: str, waiting: Sequence[str]) -> int | None:
    """Say which connection makes room for one from the address `newcomer`: a position in `waiting`; none need.

    `waiting` are the addresses of those that have not greeted, oldest first. An edge greets at once, so it gets in
    among any number that only hold their sockets open: the oldest goes, of the address that holds most.
    """
    if len(waiting) < limits.MAX_GREETING_CONNECTIONS:
        return None
    held = Counter([*waiting, newcomer])
    most = max(held[address] for address in waiting)
    return next(at for at, address in enumerate(waiting) if held[address] == most)


def unwelcome(hello: Hello, certified: str | None, allowed: frozenset[str] | None) -> Refused | None:
    """Return why this edge is not let in, whatever it holds; none if it may go on.

    `certified` is the name in its certificate (none without TLS), `allowed` the names that are let in (none:
    all). The reason tells nothing of this cloud: nobody who hears it has been let in.
    """
    if certified is not None and hello.edge != certified:
        reason = f"the edge calls itself {hello.edge}, and its certificate is {certified}'s"
        return Refused(kind="access", reason=printable(reason))
    if allowed is not None and certified not in allowed:
        return Refused(kind="access", reason=printable(f"{hello.edge} is not on this cloud's list of edges"))
    return None


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
