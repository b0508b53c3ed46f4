"""Facts about reading a service's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.doctor.environment import (
    as_kept,
    parse_environment_file,
    parse_unit_environment,
    read_environment_file,
    service_environment,
)
from common.errors import ConfigurationError


def test_a_file_is_read_as_systemd_reads_it() -> None:
    """Comments, blank lines, quotes, continued lines; what is no assignment is left out; the last one counts."""
    text = """
# CLEAVE_MODEL=vgg16
; CLEAVE_MODEL=vgg19
CLEAVE_MODEL=resnet18
  CLEAVE_EDGE_CLOUD = server:7400
CLEAVE_EDGE_PLAN="after layer2 as int8"
CLEAVE_EDGE_SOURCE=/a/\\
b
nonsense
CLEAVE_EDGE_NAME='porch'
CLEAVE_EDGE_LOSSY=
CLEAVE_MODEL=resnet50
"""
    assert parse_environment_file(text) == {
        "CLEAVE_MODEL": "resnet50",
        "CLEAVE_EDGE_PLAN": "after layer2 as int8",
        "CLEAVE_EDGE_SOURCE": "/a/b",
        "CLEAVE_EDGE_NAME": "porch",
        "CLEAVE_EDGE_LOSSY": "",
        "CLEAVE_EDGE_CLOUD": "server:7400",
    }


def test_a_units_environment_is_words() -> None:
    """As `systemctl show` prints them."""
    text = '"A=one two" B=3 C='
    assert parse_unit_environment(text) == {"A": "one two", "B": "3", "C": ""}


def test_the_file_counts_more_than_the_unit_and_nothing_else_comes_in() -> None:
    """A variable of the terminal that the service does not have would hide its fault."""
    environment = service_environment(
        {"PATH": "/bin", "CLEAVE_MODEL": "mine", "PYTHONPATH": "/mine"},
        {"A": "unit", "B": "unit"},
        {"A": "file"},
    )
    assert environment == {"PATH": "/bin", "A": "file", "B": "unit"}


def test_what_the_unit_hands_over_is_looked_at_where_it_is_kept() -> None:
    """Certificates and secrets alike, also behind the @ of a file that holds a URL; other paths stay."""
    environment = {
        "CLEAVE_EDGE_TLS": "/run/cleave-edge/tls",
        "CLEAVE_EDGE_WEBHOOK": "@/run/cleave-edge/secrets/webhook-url",
        "CLEAVE_EDGE_RESULTS": "/run/cleave-edge/results",
    }
    assert as_kept(environment, "edge") == {
        "CLEAVE_EDGE_TLS": "/etc/cleave/edge-tls",
        "CLEAVE_EDGE_WEBHOOK": "@/etc/cleave/edge-secrets/webhook-url",
        "CLEAVE_EDGE_RESULTS": "/run/cleave-edge/results",
    }


def test_a_file_that_cannot_be_read_is_the_operators_error(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigurationError, match=r"nothing\.env: No such file"):
        read_environment_file(tmp_path / "nothing.env")
