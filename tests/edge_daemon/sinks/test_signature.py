"""Facts about signatures: what docs/sinks.md tells receivers to do finds ours good, and others not."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

from edge_daemon.sinks.signature import sign

SECRET, BODY = b"a secret of some length", b'{"edge": "porch"}'
PAGE = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text(encoding="utf-8")


def documented() -> Any:
    """The function that the page shows."""
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib}
    exec(shown, names)
    return names["verify"]


def test_the_documented_check_finds_ours_good() -> None:
    verify = documented()
    assert verify(SECRET, sign(SECRET, 1_700_000_000, BODY), BODY, 1_700_000_010.0)


def test_the_documented_check_refuses_everything_else() -> None:
    """Another body, time, or secret; a signature that is old."""
    verify, good = documented(), sign(SECRET, 1_700_000_000, BODY)
    assert not verify(SECRET, good, BODY + b" ", 1_700_000_010.0)
    assert not verify(b"another secret", good, BODY, 1_700_000_010.0)
    assert not verify(SECRET, good.replace("t=1700000000", "t=1700000009"), BODY, 1_700_000_010.0)
    assert not verify(SECRET, good, BODY, 1_700_001_000.0)


def test_a_known_value() -> None:
    """Computed by another program: printf '1.x' | openssl dgst -sha256 -hmac k."""
    assert sign(b"k", 1, b"x") == "t=1,v1=" + KNOWN


KNOWN = "976cb87e4f568d1c0f03f32859e90af8597cf00b978ba37c229c97d3a15b8449"
