"""Texts for logs and records without the secrets that URLs carry."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"\b([a-z][a-z0-9+.-]*:/{0,3})\S*@", re.IGNORECASE)
_QUERY = re.compile(r"(:/{1,3}[^\s?#]*)[?#]\S*")

HIDDEN = "***"
"""What stands where a secret was."""


def hide_secrets(text: str) -> str:
    """Return `text` with the credentials and the query of each URL in it taken out.

    Cameras are given passwords both ways. Where it is not clear what belongs to a password (one with `@` or `/` in it
    that is not escaped), more is hidden, not less.
    """
    return _QUERY.sub(rf"\1?{HIDDEN}", _CREDENTIALS.sub(rf"\1{HIDDEN}@", text))
