"""Facts about the edge daemon's settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from edge_daemon.config import EdgeSettings

NEEDED = {"CLEAVE_MODEL": "resnet18", "CLEAVE_EDGE_SOURCE": "/frames"}


def test_model_and_source_suffice() -> None:
    """Everything else has a default that works on one machine."""
    settings = EdgeSettings.load(NEEDED)
    assert (settings.model, settings.weights, settings.source.path) == (
        "resnet18",
        "default",
        Path("/frames"),
    )
    assert (settings.plan, settings.results, settings.sampling_fps) == ("auto", "-", 0.0)
    assert str(settings.cloud) == "127.0.0.1:7400"
    assert settings.state_dir.is_absolute()


def test_what_is_missing_is_said_together() -> None:
    """Both required settings are named at once."""
    with pytest.raises(ConfigurationError) as error:
        EdgeSettings.load({})
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "CLEAVE_MODEL",
        "CLEAVE_EDGE_SOURCE",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EDGE_SAMPLING_FPS", "-1"),
        ("EDGE_REPLAN_INTERVAL_S", "0.1"),
        ("EDGE_IN_FLIGHT", "0"),
        ("EDGE_IN_FLIGHT", "5"),
        ("EDGE_SLOWDOWN", "0.5"),
        ("EDGE_SLOWDOWN", "1001"),
        ("EDGE_THREADS", "-1"),
        ("EDGE_PLAN", "best"),
        ("EDGE_DEVICE", "tpu"),
        ("EDGE_WHEN_DRAINED", "sleep"),
        ("EDGE_CLOUD", "7400"),
        ("EDGE_ROTATE", "45"),
        ("EDGE_CROP", "0,0,100"),
        ("EDGE_MAX_AGE_S", "0"),
        ("EDGE_DELIVERY", "some"),
        ("EDGE_ADAPT_RATE", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_values_out_of_range_are_refused_by_name(variable: str, value: str) -> None:
    """A value that would do harm later is refused now, with the valid ones."""
    with pytest.raises(ConfigurationError, match=f"CLEAVE_{variable}={re.escape(value)}: .*valid: "):
        EdgeSettings.load({**NEEDED, f"CLEAVE_{variable}": value})


@pytest.mark.parametrize("variable", ["SOURCE", "RESULTS", "STATE_DIR", "WEBHOOK", "SOURCE_CREDENTIALS"])
def test_a_home_that_nobody_has_is_refused_by_name(variable: str) -> None:
    """Wherever a path may be given: at the start, in a line."""
    value = "~nobody-here/x" if variable != "WEBHOOK" else "@~nobody-here/x"
    name = f"CLEAVE_EDGE_{variable}"
    with pytest.raises(ConfigurationError, match=f"{name}.*there is no home directory for '~nobody-here'"):
        EdgeSettings.load(NEEDED | {name: value})


def test_the_reference_lists_every_setting() -> None:
    """Name, flag and meaning of each are in the page that is written from the declarations."""
    rows = EdgeSettings.reference().splitlines()[2:]
    assert len(rows) == len(EdgeSettings.model_fields)
    for field, row in zip(EdgeSettings.model_fields.values(), rows, strict=True):
        flag = EdgeSettings.flag(str(field.alias))
        assert row.startswith(f"| `{field.alias}` | `{flag}` |")
        assert str(field.description) in row


def test_flags_are_distinct() -> None:
    """Two settings never share a flag, whatever prefixes are left out."""
    flags = [EdgeSettings.flag(str(field.alias)) for field in EdgeSettings.model_fields.values()]
    assert len(set(flags)) == len(flags)
