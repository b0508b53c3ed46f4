"""Problem documents that are wrong in one way each, with what the error has to name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

VALID: dict[str, Any] = {
    "units": {
        "frame": {"edge_ms": 0.0, "cloud_ms": 0.0, "output_bytes": 1000},
        "conv": {"edge_ms": 10.0, "cloud_ms": 1.0, "output_bytes": 50},
        "top": {"edge_ms": 5.5, "cloud_ms": 0.5, "output_bytes": 8},
    },
    "links": [["frame", "conv"], ["conv", "top"]],
    "source": "frame",
    "sink": "top",
}


def _but(change: Callable[[Any], object]) -> str:
    document = copy.deepcopy(VALID)
    change(document)
    return json.dumps(document)


def _unit(key: str, value: object) -> str:
    return _but(lambda d: d["units"]["conv"].__setitem__(key, value))


def _raw(old: str, new: str) -> str:
    text = json.dumps(VALID)
    assert old in text
    return text.replace(old, new, 1)


def _branch(document: Any) -> Any:
    """Add a unit on its own; return the links, for more."""
    document["units"]["other"] = dict(document["units"]["conv"])
    return document["links"]


MALFORMED: dict[str, tuple[str | bytes, str]] = {
    # not a document
    "empty file": ("", "not JSON"),
    "not JSON": ("{units}", "not JSON"),
    "cut short": (json.dumps(VALID)[:-20], "not JSON"),
    "trailing text": (json.dumps(VALID) + "x", "not JSON"),
    "not text": (b"\xff\xfe\x00\x80garbage", "not JSON"),
    "nested too deeply": ("[" * 100_000, "nested too deeply"),
    "a list": ("[]", "the document is []"),
    "null": ("null", "the document is null"),
    # keys
    "no units": (_but(lambda d: d.pop("units")), "no units"),
    "no links": (_but(lambda d: d.pop("links")), "no links"),
    "no source": (_but(lambda d: d.pop("source")), "no source"),
    "no sink": (_but(lambda d: d.pop("sink")), "no sink"),
    "an unknown key": (_but(lambda d: d.update(sinks="top")), "'sinks'"),
    "a unit without a time": (_but(lambda d: d["units"]["conv"].pop("cloud_ms")), "'conv' has no cloud_ms"),
    "an unknown key of a unit": (_unit("cloud_us", 1), "'cloud_us'"),
    "a duplicate key": (_raw('"links"', '"source": "frame", "links"'), "'source' appears twice"),
    "a duplicate unit": (_raw('"top": {', '"conv": {"edge_ms": 1}, "top": {'), "'conv' appears twice"),
    "a duplicate time": (_raw('"edge_ms": 10.0', '"edge_ms": 1, "edge_ms": 10.0'), "'edge_ms' appears twice"),
    # types
    "units as a list": (_but(lambda d: d.update(units=[])), "units is []"),
    "no unit": (_but(lambda d: d.update(units={}, links=[])), "units is empty"),
    "a unit as a number": (_but(lambda d: d["units"].update(conv=3)), "'conv' is 3"),
    "a time as text": (_unit("edge_ms", "10"), "'conv': edge_ms"),
    "a time as null": (_unit("edge_ms", None), "'conv': edge_ms is null"),
    "a time as a boolean": (_unit("edge_ms", True), "'conv': edge_ms is true"),
    "a time as a list": (_unit("cloud_ms", [1]), "'conv': cloud_ms is [1]"),
    "a size as a boolean": (_unit("output_bytes", False), "'conv': output_bytes is false"),
    "a size with a fraction": (_unit("output_bytes", 0.5), "'conv': output_bytes is 0.5"),
    "an empty name": (_raw('"conv": {', '"": {'), "unit name ''"),
    "an unprintable name": (_raw('"conv": {', '"a\\n\\u001b[2J": {'), r"'a\n\x1b[2J'"),
    "half a surrogate as a name": (_raw('"conv": {', '"\\ud800": {'), r"'\ud800'"),
    "links as an object": (_but(lambda d: d.update(links={"frame": "conv"})), "links is"),
    "a link of three": (_but(lambda d: d["links"].append(["frame", "conv", "top"])), "two names"),
    "a link as text": (_but(lambda d: d["links"].append("frame")), "'frame' is not [producer"),
    "a link of numbers": (_but(lambda d: d["links"].append([1, 2])), "[1, 2]"),
    "the source as a list": (_but(lambda d: d.update(source=["frame"])), 'source is ["frame"]'),
    # numbers
    "a negative time": (_unit("edge_ms", -1), "'conv': edge_ms is -1"),
    "a negative size": (_unit("output_bytes", -1), "'conv': output_bytes is -1"),
    "an infinite time": (_raw("10.0", "Infinity"), "Infinity is no number"),
    "not a number": (_raw("10.0", "NaN"), "NaN is no number"),
    "a time too large for a float": (_raw("10.0", "1e999"), "'conv': edge_ms"),
    "a time too large": (_unit("edge_ms", 10**400), "'conv': edge_ms"),
    "a number of many digits": (_raw("10.0", "9" * 5000), "not JSON"),
    "a size too large": (_unit("output_bytes", 2**60), "'conv': output_bytes"),
    # graph
    "an unknown producer": (_but(lambda d: d["links"].append(["cnov", "top"])), "'cnov' is no unit"),
    "an unknown consumer": (_but(lambda d: d["links"].append(["frame", "tpo"])), "'tpo' is no unit"),
    "a link to itself": (_but(lambda d: d["links"].append(["conv", "conv"])), "to itself"),
    "a duplicate link": (_but(lambda d: d["links"].append(["conv", "top"])), "listed twice"),
    "a cycle": (
        _but(lambda d: _branch(d).extend([["conv", "other"], ["other", "conv"]])),
        "cycle",
    ),
    "all in a cycle": (_but(lambda d: d["links"].append(["top", "frame"])), "cycle"),
    "two sources": (_but(lambda d: _branch(d).append(["other", "top"])), "one source"),
    "two sinks": (_but(lambda d: _branch(d).append(["frame", "other"])), "one sink"),
    "a unit on its own": (_but(_branch), "one source"),
    "the wrong source": (_but(lambda d: d.update(source="conv")), "source is 'conv'"),
    "the wrong sink": (_but(lambda d: d.update(sink="conv")), "sink is 'conv'"),
    "an unknown source": (_but(lambda d: d.update(source="image")), "source is 'image'"),
}
