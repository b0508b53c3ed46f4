"""Facts about what a failed handshake is said to mean. The rest is proven by real handshakes in tests/attacks."""

from __future__ import annotations

import pytest

from common.tls.certificates import DAY_S, CertificateFacts
from common.tls.explain import why_an_edge_failed, why_the_cloud_failed, why_there_was_no_greeting

OWN = CertificateFacts(
    name="porch",
    hosts=(),
    issuer="our house",
    not_before=0,
    not_after=90 * DAY_S,
    for_cloud=False,
    for_edge=True,
)


@pytest.mark.parametrize(
    ("own", "day", "told"),
    [
        (None, 0, "if the cloud's log speaks of TLS, this edge needs CLEAVE_EDGE_TLS"),
        (OWN, 1, "this edge's is porch's, issued by our house: the cloud's log says why"),
        (OWN, 93, "this edge's certificate has ended 3 days ago"),
        (OWN, -1, "not valid yet by its own clock"),
    ],
)
def test_a_cloud_that_greets_nobody_is_explained_by_what_the_edge_knows(
    own: CertificateFacts | None, day: float, told: str
) -> None:
    """The cloud cannot say why: its side of the handshake fails when the edge's is done."""
    reason = why_there_was_no_greeting("the cloud closed the connection", own, day * DAY_S)
    assert reason.startswith("the cloud closed the connection")
    assert told in reason


def test_what_is_not_about_tls_is_left_to_others() -> None:
    """A host that does not answer is not the certificates' fault."""
    assert why_the_cloud_failed(ConnectionRefusedError(111, "refused"), "server") is None
    assert why_the_cloud_failed(TimeoutError(), "server") is None


def test_an_edge_that_hangs_or_leaves_is_told_apart() -> None:
    """By what the system says, if there is nothing better."""
    assert "in time" in why_an_edge_failed(ConnectionAbortedError("SSL handshake is taking longer"))
    assert why_an_edge_failed(ConnectionResetError(104, "reset by peer")) == "[Errno 104] reset by peer"
    assert why_an_edge_failed(OSError()) == "OSError"
