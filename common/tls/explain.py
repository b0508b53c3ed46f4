"""What a failed handshake means: whose certificate it was about, and what to do."""

from __future__ import annotations

import ssl

from common.tls.certificates import CertificateFacts

_PLAIN = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNEXPECTED_MESSAGE",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
"""What OpenSSL calls bytes that are no TLS."""
_OLD = ("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "TLSV1_ALERT_PROTOCOL_VERSION")


def why_an_edge_failed(error: OSError) -> str:
    """Say, at the cloud, why a connection did not become an edge's: for the log, since nothing is proven yet."""
    reason = _reason(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        return f"its certificate is not accepted: {said}{_hint(error.verify_code)}"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it showed no certificate: an edge needs CLEAVE_EDGE_TLS"
    if reason in _OLD:
        return "it offered no TLS 1.3"
    if reason in _PLAIN:
        return "it does not speak TLS: an edge needs CLEAVE_EDGE_TLS"
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason or "CERTIFICATE_UNKNOWN" in reason:
        return "it does not accept this cloud's certificate"
    if isinstance(error, ConnectionAbortedError | TimeoutError):
        return "it did not finish the TLS handshake in time"
    return reason or str(error) or type(error).__name__


def why_the_cloud_failed(error: BaseException, host: str) -> str | None:
    """Say, at the edge, why the TLS handshake with the cloud failed; none when it is not about TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (62, 63, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_, _IP_ADDRESS_
            return (
                f"the cloud's certificate is not for {host}, which CLEAVE_EDGE_CLOUD names: issue the cloud one with "
                f"--host {host}"
            )
        return f"the cloud's certificate is not accepted: {error.verify_message}{_hint(error.verify_code)}"
    reason = _reason(error)
    if reason in _OLD:
        return "the cloud offers no TLS 1.3"
    if reason in _PLAIN:
        return "the cloud does not speak TLS: it has no CLEAVE_CLOUD_TLS, or this is not its port"
    if isinstance(error, ConnectionResetError | ConnectionAbortedError):
        return (
            "the cloud ended the connection amid the TLS handshake: it speaks no TLS 1.3 (has it CLEAVE_CLOUD_TLS?), "
            "or this is not its port"
        )
    return f"TLS: {reason or error}" if isinstance(error, ssl.SSLError) else None


def why_there_was_no_greeting(reason: str, own: CertificateFacts | None, now: float) -> str:
    """Say, at the edge, what it means that the cloud ended a connection before Welcome, with the best of guesses.

    A cloud that does not accept a certificate says so in its own log only: it ends the connection, and the
    edge hears no reason, as its side of the handshake was done.
    """
    if own is None:
        return f"{reason}, before any greeting; if the cloud's log speaks of TLS, this edge needs CLEAVE_EDGE_TLS"
    match own.state(now):
        case "expired":
            return f"{reason}: this edge's certificate has ended {-own.days_left(now):.0f} days ago; issue a new one"
        case "early":
            return f"{reason}: this edge's certificate is not valid yet by its own clock; is that right?"
    return (
        f"{reason}, before any greeting, as it does when it does not accept a certificate; this edge's is "
        f"{own.name}'s, issued by {own.issuer}: the cloud's log says why"
    )


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or "")


def _hint(code: int) -> str:
    match code:
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return " (issue a new one)"
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return " (are the clocks of both machines right?)"
        case 18 | 19 | 20 | 21:  # self-signed, or of an authority that is not known
            return " (it was issued by another authority than this side's ca.pem)"
        case 26:  # X509_V_ERR_INVALID_PURPOSE
            return " (it was issued for the other role: a cloud's needs --cloud, an edge's must not have it)"
    return ""
