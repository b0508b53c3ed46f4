"""Facts about metrics read off a status."""

from __future__ import annotations

from prometheus_client import generate_latest

from common.web.metric_table import Reading, at, each, one_of, registry_of

STATUS = {
    "frames": {"seen": 9, "answered": 7, "waiting": 2},
    "link": {"mbit": 12.5, "up": True, "tls": None},
    "mode": "light",
}


def lines(*table: Reading) -> list[str]:
    text = generate_latest(registry_of(table, STATUS)).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_numbers_are_told_in_base_units() -> None:
    """Truth is 1, and another unit is a factor."""
    assert lines(
        Reading("x_bits", "gauge", "help", at("link", "mbit", times=1e6)),
        Reading("x_up", "gauge", "help", at("link", "up")),
    ) == ["x_bits 1.25e+07", "x_up 1.0"]


def test_what_is_not_known_is_absent() -> None:
    """A zero would be a lie; and a path that ends early breaks nothing."""
    assert lines(Reading("x_days", "gauge", "help", at("link", "tls", "days"))) == []
    assert lines(Reading("x", "gauge", "help", each("nothing", "here"), ("name",))) == []


def test_names_become_labels() -> None:
    """All of a mapping, some of it, or all but some; counters end in _total."""
    table = Reading("x_total", "counter", "help", each("frames", but=("seen", "waiting")), ("outcome",))
    assert lines(table) == ['x_total{outcome="answered"} 7.0']
    table = Reading("x", "gauge", "help", each("frames", only=("waiting", "gone")), ("place",))
    assert lines(table) == ['x{place="waiting"} 2.0']


def test_a_word_is_a_one_among_zeros() -> None:
    """So that its changes can be drawn."""
    table = Reading("x", "gauge", "help", one_of("mode", values=("light", "heavy")), ("mode",))
    assert lines(table) == ['x{mode="light"} 1.0', 'x{mode="heavy"} 0.0']
