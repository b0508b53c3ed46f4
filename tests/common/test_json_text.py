"""Facts about JSON that others read: every number in it is one."""

from __future__ import annotations

import json
import math

from common.json_text import to_json


def test_what_is_no_number_becomes_null() -> None:
    """Browsers refuse `Infinity` and `NaN`; the rest of the document stays as it is."""
    document = {"a": math.inf, "b": [1.5, math.nan, {"c": -math.inf}], "d": (True, None, "x")}
    assert json.loads(to_json(document)) == {"a": None, "b": [1.5, None, {"c": None}], "d": [True, None, "x"]}


def test_names_that_are_no_text_survive() -> None:
    """A file's name may have any bytes; what comes of them is plain ASCII, and read back the same."""
    name = b"\xff<script>.jpg".decode(errors="surrogateescape")
    text = to_json({"name": name})
    assert text.isascii()
    assert json.loads(text) == {"name": name}
