"""Facts about what a link is said to carry."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from benchmarks import bench_link
from benchmarks.bench_link import BenchLink, carried_bps

NOTHING, SLOW, FAST = b"", b'{"begun": 1}\n{"bps": 4.8e6}', b'{"begun": 1}\n{"bps": 7.7e6}'


def iperf_says(monkeypatch: pytest.MonkeyPatch, *outs: bytes) -> None:
    """Have iperf3 tell this, one after the other, and nothing more."""
    left = list(outs)

    async def once(link: BenchLink) -> bytes:
        return left.pop(0) if left else NOTHING

    monkeypatch.setattr(bench_link, "_iperf_once", once)


@pytest.mark.parametrize(
    "outs", [(FAST, SLOW), (SLOW, FAST), (SLOW, NOTHING, FAST), (b"no JSON", FAST, SLOW)]
)
def test_a_link_carries_the_more_of_two_measurements(
    monkeypatch: pytest.MonkeyPatch, outs: tuple[bytes, ...]
) -> None:
    """What was lost in the link's queue makes one less than the link carries."""
    iperf_says(monkeypatch, *outs)
    assert asyncio.run(carried_bps(Mock())) == 7.7e6


def test_one_measurement_alone_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the lesser one."""
    iperf_says(monkeypatch, FAST, NOTHING, b"unable to connect")
    with pytest.raises(RuntimeError, match="did not measure twice: unable to connect"):
        asyncio.run(carried_bps(Mock()))
