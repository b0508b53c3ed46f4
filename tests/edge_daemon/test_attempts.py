"""Facts about attempts to connect: how they are spaced, and which one counts."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from common.errors import ConfigurationError, LinkLostError
from edge_daemon.attempts import MOST_AT_A_TIME, Attempts, next_delay_s
from edge_daemon.line import Line
from tests.event_loop import run, until


@given(st.integers(0, 500), st.integers(0, 2**32))
def test_the_wait_before_a_retry_is_bounded(attempt: int, seed: int) -> None:
    """Never negative, never above the maximum, however many attempts have failed."""
    assert 0.0 <= next_delay_s(attempt, random.Random(seed)) <= limits.RECONNECT_MAX_S


def test_the_wait_grows_with_the_attempts_and_is_spread() -> None:
    """The first retry comes within a second, later ones later; edges that lost one cloud do not come together."""
    waits = {n: [next_delay_s(n, random.Random(seed)) for seed in range(200)] for n in (1, 2, 3, 9)}
    assert max(waits[1]) <= 1.0
    assert max(waits[2]) < min(waits[3])
    assert set(waits[9]) == {5.0}
    assert max(waits[1]) - min(waits[1]) > 0.9
    assert max(waits[2]) / min(waits[2]) > 1.3


@given(st.integers(0, 2**32), st.floats(0.0, 60.0))
def test_an_attempt_follows_soon_when_an_outage_ends(seed: int, outage_s: float) -> None:
    """Within 2 s of the end of an outage below 2 s, within 5 s of any other."""
    rng, at, number = random.Random(seed), 0.0, 0
    while at < outage_s:
        number += 1
        at += next_delay_s(number, rng)
    assert at - outage_s <= (2.0 if outage_s < 2.0 else limits.RECONNECT_MAX_S)


class FakeLine:
    """What an attempt that was greeted returns."""

    def __init__(self) -> None:
        self.channel = self
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Tries:
    """Attempts that hang until a test says what becomes of each."""

    def __init__(self) -> None:
        self.begun: list[asyncio.Future[Line]] = []
        self.failures: list[str] = []
        self.attempts = Attempts(
            self._begin, lambda error: self.failures.append(str(error)), random.Random(1)
        )

    async def _begin(self) -> Line:
        outcome: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self.begun.append(outcome)
        return await outcome


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECONNECT_FIRST_S", 0.01)
    monkeypatch.setattr(limits, "RECONNECT_MAX_S", 0.02)


@pytest.mark.usefixtures("hurried")
def test_one_that_hangs_keeps_no_other_from_being_greeted() -> None:
    """The first to be greeted counts, and the others are ended."""

    async def main() -> None:
        tries, line = Tries(), FakeLine()
        first = asyncio.create_task(tries.attempts.first(at_once=True))
        await until(lambda: len(tries.begun) >= 2)
        tries.begun[1].set_result(cast(Line, line))
        assert await first is cast(Line, line)
        assert not line.aborted
        assert all(other.cancelled() for other in (tries.begun[0], *tries.begun[2:]))

    run(main())


@pytest.mark.usefixtures("hurried")
def test_few_hang_at_a_time() -> None:
    """Each may hold a place at the cloud's door; one that fails is told, and makes room for the next."""

    async def main() -> None:
        tries = Tries()
        first = asyncio.create_task(tries.attempts.first(at_once=True))
        await until(lambda: len(tries.begun) == MOST_AT_A_TIME)
        await asyncio.sleep(5 * limits.RECONNECT_MAX_S)
        assert len(tries.begun) == MOST_AT_A_TIME
        tries.begun[0].set_exception(LinkLostError("no handshake"))
        await until(lambda: len(tries.begun) == MOST_AT_A_TIME + 1)
        assert tries.failures == ["no handshake"]
        first.cancel()
        await asyncio.wait([first])
        assert all(one.cancelled() for one in tries.begun[1:])

    run(main())


@pytest.mark.usefixtures("hurried")
def test_of_two_that_are_greeted_in_one_moment_one_is_closed() -> None:
    """No connection is left that nobody knows of."""

    async def main() -> None:
        tries, lines = Tries(), [FakeLine(), FakeLine()]
        first = asyncio.create_task(tries.attempts.first(at_once=True))
        await until(lambda: len(tries.begun) >= 2)
        for outcome, line in zip(tries.begun, lines, strict=False):
            outcome.set_result(cast(Line, line))
        kept = await first
        assert [line.aborted for line in lines] == [cast(object, line) is not kept for line in lines]

    run(main())


@pytest.mark.usefixtures("hurried")
def test_a_line_that_comes_as_nobody_wants_it_any_more_is_closed() -> None:
    """The daemon ends in the moment in which an attempt is greeted."""

    async def main() -> None:
        tries, line = Tries(), FakeLine()
        first = asyncio.create_task(tries.attempts.first(at_once=True))
        await until(lambda: len(tries.begun) >= 1)
        tries.begun[0].set_result(cast(Line, line))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        await asyncio.sleep(0)
        assert line.aborted or not first.cancelled()

    run(main())


@pytest.mark.usefixtures("hurried")
def test_what_no_retry_mends_is_raised() -> None:
    """Another protocol, or another model: the operator has to."""

    async def main() -> None:
        tries = Tries()
        first = asyncio.create_task(tries.attempts.first(at_once=True))
        await until(lambda: len(tries.begun) >= 1)
        tries.begun[0].set_exception(ConfigurationError("another model"))
        with pytest.raises(ConfigurationError, match="another model"):
            await first

    run(main())
