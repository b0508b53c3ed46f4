"""Facts about bandwidths read from and shown to people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.quantities import format_bandwidth, parse_bandwidth


@pytest.mark.parametrize(
    ("text", "rate_bps"),
    [
        ("20mbit", 20e6),
        ("20Mbit", 20e6),
        ("1.5 Mbit/s", 1.5e6),
        (" 100kbitps ", 100e3),
        ("2gbit", 2e9),
        ("64bit", 64),
        (".5mbit", 0.5e6),
        ("2.5MB/s", 20e6),
        ("10kB/s", 80e3),
        ("10KB/s", 80e3),
        ("1GBps", 8e9),
        ("7B/s", 56),
        ("0", 0),
        ("0mbit", 0),
    ],
)
def test_reads_bits_and_bytes_with_decimal_prefixes(text: str, rate_bps: float) -> None:
    """Each accepted spelling means exactly one rate."""
    assert parse_bandwidth(text) == pytest.approx(rate_bps)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("20", "20mbit"),
        ("20mbps", "mbit"),
        ("20Mb/s", "mbit"),
        ("20mb/s", "MB/s"),
        ("20 parsec", "unknown unit 'parsec'"),
        ("", "number and a unit"),
        ("fast", "number and a unit"),
        ("-5mbit", "number and a unit"),
        ("nan", "number and a unit"),
        ("1e3mbit", "unknown unit"),
        ("9" * 400 + "bit", "too large"),
    ],
)
def test_refuses_what_could_be_read_two_ways_and_says_what_to_write(text: str, advice: str) -> None:
    """A missing or ambiguous unit is an error that names the spelling to use."""
    with pytest.raises(ValueError, match=advice):
        parse_bandwidth(text)


@pytest.mark.parametrize(
    ("rate_bps", "text"),
    [
        (0, "0 bit/s"),
        (0.5, "0.5 bit/s"),
        (999, "999 bit/s"),
        (20e6, "20 Mbit/s"),
        (1_234_567, "1.23 Mbit/s"),
        (999_999, "1 Mbit/s"),
        (100e3, "100 kbit/s"),
        (2.5e9, "2.5 Gbit/s"),
        (1234e9, "1230 Gbit/s"),
    ],
)
def test_shows_three_digits_in_the_largest_fitting_unit(rate_bps: float, text: str) -> None:
    """Rounding comes before the choice of the unit."""
    assert format_bandwidth(rate_bps) == text


@pytest.mark.parametrize("rate_bps", [-1.0, math.inf, math.nan])
def test_does_not_show_what_is_no_rate(rate_bps: float) -> None:
    """A rate is finite and not negative."""
    with pytest.raises(ValueError, match="finite number of bits per second"):
        format_bandwidth(rate_bps)


@given(st.floats(min_value=1, max_value=1e13))
def test_what_is_shown_can_be_read_back(rate_bps: float) -> None:
    """A formatted rate is parsed to the same rate within its three digits."""
    assert parse_bandwidth(format_bandwidth(rate_bps)) == pytest.approx(rate_bps, rel=5.1e-3)
