"""Facts about the cloud daemon's settings."""

from __future__ import annotations

import re

import pytest

from cloud_daemon.config import CloudSettings
from common.errors import ConfigurationError

NEEDED = {"CLEAVE_MODEL": "resnet18"}


def test_the_model_suffices() -> None:
    """Everything else has a default: it listens on this machine only until told otherwise."""
    settings = CloudSettings.load(NEEDED)
    assert (settings.model, settings.weights, settings.iperf_port) == ("resnet18", "default", 5201)
    assert str(settings.listen) == "127.0.0.1:7400"
    assert settings.state_dir.is_absolute()


def test_the_edges_variables_are_left_alone() -> None:
    """One environment file may serve both daemons of a machine."""
    assert CloudSettings.load({**NEEDED, "CLEAVE_EDGE_SOURCE": "/frames"}) == CloudSettings.load(NEEDED)


@pytest.mark.parametrize(
    ("models", "served"),
    [
        ("", [("resnet18", "random:1")]),
        ("vgg16", [("resnet18", "random:1"), ("vgg16", "random:1")]),
        ("resnet18, vgg16,", [("resnet18", "random:1"), ("vgg16", "random:1")]),
        ("resnet18=random:2,my.net:make=/w.safetensors", [
            ("resnet18", "random:1"), ("resnet18", "random:2"), ("my.net:make", "/w.safetensors")
        ]),
    ],
)  # fmt: skip
def test_models_are_served_beside_the_model(models: str, served: list[tuple[str, str]]) -> None:
    """Each once, with CLEAVE_WEIGHTS or with its own."""
    settings = CloudSettings.load({**NEEDED, "CLEAVE_WEIGHTS": "random:1", "CLEAVE_CLOUD_MODELS": models})
    assert list(settings.served) == served


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLOUD_LISTEN", "0.0.0.0"),
        ("CLOUD_DEVICE", "tpu"),
        ("CLOUD_THREADS", "-1"),
        ("CLOUD_IPERF_PORT", "0"),
        ("CLOUD_IPERF_PORT", "65536"),
        ("CLOUD_BATCH_MAX", "0"),
        ("CLOUD_BATCH_WAIT_MS", "-1"),
        ("CLOUD_MODELS", "resnet18,=random:1"),
        ("CLOUD_MODELS", "resnet18="),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_values_out_of_range_are_refused_by_name(variable: str, value: str) -> None:
    """A value that would do harm later is refused now, with the valid ones."""
    with pytest.raises(ConfigurationError, match=f"CLEAVE_{variable}={re.escape(value)}: .*valid: "):
        CloudSettings.load({**NEEDED, f"CLEAVE_{variable}": value})


def test_the_reference_lists_every_setting() -> None:
    """Name, flag and meaning of each are in the page that is written from the declarations."""
    rows = CloudSettings.reference().splitlines()[2:]
    assert len(rows) == len(CloudSettings.model_fields)
    for field, row in zip(CloudSettings.model_fields.values(), rows, strict=True):
        flag = CloudSettings.flag(str(field.alias))
        assert row.startswith(f"| `{field.alias}` | `{flag}` |")
        assert str(field.description) in row


def test_flags_are_distinct() -> None:
    """Two settings never share a flag, whatever prefixes are left out."""
    flags = [CloudSettings.flag(str(field.alias)) for field in CloudSettings.model_fields.values()]
    assert len(set(flags)) == len(flags)
