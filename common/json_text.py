"""JSON as everybody reads it: numbers that are none (infinite, not known) become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(document: Any, indent: int | None = None) -> str:
    """Write a document of mappings, sequences and scalars. What is no text in a name leaves as an escape."""
    separators = None if indent else (",", ":")
    try:
        return json.dumps(document, allow_nan=False, indent=indent, separators=separators)
    except ValueError:
        return json.dumps(_finite(document), allow_nan=False, indent=indent, separators=separators)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
