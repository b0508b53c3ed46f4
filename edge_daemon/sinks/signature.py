"""How a receiver knows that a batch is ours, whole, and new: HMAC-SHA256 over the time and the body."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Cleave-Signature"


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the header's value, `t=SECONDS,v1=HEX`: HEX is of the seconds as text, a full stop, and the body."""
    digest = hmac.new(secret, b"%d.%s" % (timestamp, body), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
