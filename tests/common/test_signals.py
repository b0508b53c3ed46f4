"""Facts about the way down: a signal is an event, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from common.signals import on_hangup, stop_event
from tests.event_loop import LOOPS, run, until


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_anything_is_held_a_signal_ends_the_process_in_success(number: signal.Signals) -> None:
    """While a model loads, in other people's code, nothing can be waited for, and stopping is no failure."""
    script = (
        "import os, time; from common.signals import leave_at_once_on_signals; leave_at_once_on_signals();"
        f"os.kill(os.getpid(), {int(number)}); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hangup_reads_again_and_ends_nothing(loop: str) -> None:
    """As often as it is sent."""
    calls: list[int] = []

    async def main() -> None:
        on_hangup(lambda: calls.append(1))
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda count=count: len(calls) == count)  # type: ignore[misc]

    run(main(), loop)


def test_before_there_is_anything_to_read_again_a_hangup_is_ignored() -> None:
    """A model takes seconds to load, and an operator who has just renewed a certificate does not wait."""
    script = (
        "import os, signal; from common.signals import leave_at_once_on_signals; leave_at_once_on_signals();"
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True
    )
    assert done.stdout == b"alive\n"
