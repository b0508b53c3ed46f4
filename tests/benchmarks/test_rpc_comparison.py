"""Facts about what the comparison accepts, from its command line and from the channels it measures."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from benchmarks.network_namespaces import NamespaceLink
from benchmarks.rpc_comparison import (
    HEADING,
    Figures,
    PastTheLinkError,
    check_plausible,
    describe,
    least_ms,
    parse_links,
    parse_rates,
)


@dataclass(frozen=True, slots=True)
class NoLink(NamespaceLink):
    """What a link says of itself, without the link."""

    def set_rate(self, rate_bps: float) -> None:
        """There is nothing to shape."""


class Bucket(NoLink):
    def burst_bytes(self, rate_bps: float) -> int:
        return 16_384


DELAYED = NoLink("e", "c", "de", "dc", delay_ms=5.0)
BUCKET = Bucket("e", "c", "de", "dc", delay_ms=0.0)


def test_bytes_need_their_time_at_the_rate_and_a_round_trip() -> None:
    """1 MB at 8 Mbit/s is a second, and the answer is another delay away."""
    assert least_ms(DELAYED, 8e6, 1_000_000) == pytest.approx(1010)


def test_a_bucket_lets_its_burst_pass_at_once() -> None:
    """A token bucket that is full is not the rate's fault, nor past the link."""
    assert least_ms(BUCKET, 8e6, 1_016_384) == pytest.approx(1000)
    assert least_ms(BUCKET, 8e6, 1000) == 0


def test_what_sends_nothing_needs_no_time() -> None:
    """A frame that the edge answers alone crosses no link."""
    assert least_ms(DELAYED, 8e6, 0) == 0


def test_a_frame_that_was_faster_than_its_bytes_is_an_error() -> None:
    """One frame of many is enough, and the message tells the numbers."""
    fair = Figures(latencies_ms=[1011.0, 1300.0], bytes_up=[1_000_000, 1_000_000])
    check_plausible(fair, DELAYED, 8e6, "RPC, cloud-only")
    odd = Figures(latencies_ms=[1300.0, 1009.0], bytes_up=[1_000_000, 1_000_000])
    with pytest.raises(PastTheLinkError, match=r"RPC, cloud-only.* 1009\.00 ms.* 1,000,000 .* 1010\.00 ms"):
        check_plausible(odd, DELAYED, 8e6, "RPC, cloud-only")


def test_links_and_rates_are_read_by_commas() -> None:
    """Spaces do no harm."""
    assert parse_links("emulated, kernel") == ["emulated", "kernel"]
    assert parse_rates("20mbit,2.5MB/s") == [20e6, 20e6]


def test_what_is_no_link_and_no_rate_is_refused_in_words() -> None:
    """Before anything is started."""
    with pytest.raises(
        argparse.ArgumentTypeError, match="no such link: 'veth'; there are kernel and emulated"
    ):
        parse_links("kernel,veth")
    with pytest.raises(argparse.ArgumentTypeError, match="did you mean 20mbit"):
        parse_rates("20")


def test_a_row_stands_under_its_heading() -> None:
    """Each figure ends where its column's name ends."""
    figures = {"latency_ms": 100.0, "fps": 7.5}
    row = {"link": "emulated", "rate": "20 Mbit/s", "cut": "after maxpool", "ours": figures, "rpc": figures}
    assert len(describe(row)) == len(HEADING)
