"""Facts about checking a device's speed apart from frames: what is run, when, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.profile import Profile, ProfileKey
from edge_daemon import spot_check as module
from edge_daemon.drift import FEWEST
from edge_daemon.spot_check import PART_MS, WITHIN, SpotCheck, part_to_check, times_as_long
from tests.edge_daemon.bench import Bench, bench
from tests.event_loop import run, until
from tests.tiny_model import tiny_model

MODEL = tiny_model()
NETWORK = MODEL.network_units
KEY = ProfileKey(MODEL.fingerprint, "a device", "torch", 1, 1.0, "40x30")


def profile(network_ms: float) -> Profile:
    """A profile in which each unit of the network takes so long."""
    return Profile(KEY, dict.fromkeys(MODEL.graph.names, 1.0) | dict.fromkeys(NETWORK, network_ms))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


@contextlib.asynccontextmanager
async def checking(
    tiny: Bench, measured: Profile, *, slowdown: float = 1.0, unseen: bool = True
) -> AsyncIterator[Any]:
    """A check at work; yields its task, what it tells, and how often it asked whether frames tell enough."""
    told: list[float] = []
    asked: list[bool] = []

    def ask() -> bool:
        asked.append(unseen)
        return unseen

    def tell(cold: float, warm: float) -> None:
        told.append(times_as_long(cold, warm, 1.0))

    check = SpotCheck(tiny.stages, slowdown, tiny.compute, ask, tell)
    task = asyncio.create_task(check.run(measured))
    try:
        yield task, told, asked
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_the_part_is_the_networks_beginning_and_short() -> None:
    """Frames may have to wait for it. What is read further on is what it hands on, a branch as well."""
    third = PART_MS / 3
    units, outputs = part_to_check(MODEL.graph, NETWORK, dict.fromkeys(NETWORK, third))
    assert units == NETWORK[:3]
    for name in units:
        read_outside = not set(units).issuperset(MODEL.graph.successors[name])
        assert (name in outputs) == read_outside
    assert part_to_check(MODEL.graph, NETWORK, dict.fromkeys(NETWORK, 10 * PART_MS))[0] == NETWORK[:1]
    whole = part_to_check(MODEL.graph, NETWORK, dict.fromkeys(NETWORK, 0.01))
    assert whole == (NETWORK, NETWORK[-1:])


@pytest.mark.parametrize(
    ("cold_ms", "warm_ms", "ratio"),
    [
        (WITHIN * 110.0, 90.0, 1.0),  # caches that were cold
        (100.0, 70.0, 1.0),  # and warm ones
        (900.0, 300.0, 3.0),
        (40.0, 30.0, 0.4),
    ],
)
def test_a_device_is_another_only_if_caches_do_not_explain_it(
    cold_ms: float, warm_ms: float, ratio: float
) -> None:
    """Slower if it is with warm caches, faster if it is with cold ones."""
    assert times_as_long(cold_ms, warm_ms, 100.0) == pytest.approx(ratio)


@pytest.mark.parametrize(("unit_ms", "slower"), [(1e4, False), (1e-5, True)])
def test_a_profile_taken_in_another_moment_is_seen(unit_ms: float, slower: bool) -> None:
    """One look suffices: as many runs as drift asks for."""

    async def main() -> None:
        with bench() as tiny:
            async with checking(tiny, profile(unit_ms)) as (_, told, _asked):
                await until(lambda: len(told) >= FEWEST)
                assert all(ratio > WITHIN if slower else ratio < 1 / WITHIN for ratio in told)

    run(main())


def test_the_slowdown_is_in_what_is_told() -> None:
    """Profiles are as the paced device is; the check runs at full speed."""

    async def main() -> None:
        with bench() as tiny:
            async with checking(tiny, profile(1e-5), slowdown=1e6) as (_, told, _asked):
                await until(lambda: len(told) >= FEWEST)
                assert min(told) > 1e8

    run(main())


def test_nothing_is_run_while_frames_tell() -> None:
    """Whoever computes for frames is seen by them."""

    async def main() -> None:
        with bench() as tiny:
            async with checking(tiny, profile(1e4), unseen=False) as (task, told, asked):
                await until(lambda: len(asked) >= 5)
                assert not told
                assert not task.done()

    run(main())


@pytest.mark.parametrize("error", [RuntimeError("no memory"), MemoryError()])
def test_a_device_that_cannot_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """It is said once; and it is tried again: memory may have been short for a moment."""

    async def main() -> None:
        with bench() as tiny:
            failed: list[object] = []

            def fail(*_: object) -> None:
                failed.append(error)
                raise error

            with monkeypatch.context() as broken:
                broken.setattr(tiny.stages, "_made", fail)
                async with checking(tiny, profile(1.0)) as (_, told, _asked):
                    await until(lambda: len(failed) >= 3)
                    assert not told
                    broken.undo()
                    await until(lambda: bool(told))

    run(main())
    assert capsys.readouterr().out.count("speed is not checked between frames now") == 1


def test_a_profile_without_time_cannot_be_compared_with() -> None:
    """Nothing is divided by nothing."""

    async def main() -> None:
        with bench() as tiny:
            async with checking(tiny, profile(0.0)) as (task, told, asked):
                await task
                assert not told
                assert not asked

    run(main())
