"""Facts about the way down: a signal is an event, and nothing else."""

from __future__ import annotations

import os
import signal

import pytest

from common.signals import stop_event
from tests.event_loop import LOOPS, run


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_and_another_one_does_no_harm(loop: str, number: signal.Signals) -> None:
    """An impatient operator who sends it twice does not break the shutdown off."""

    async def main() -> None:
        stop = stop_event()
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        await stop.wait()
        os.kill(os.getpid(), number)

    run(main(), loop)
