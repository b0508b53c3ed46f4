"""Facts about child processes: none outlives the daemon that started it, none is left half-ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE

import psutil
import pytest

from common.child_process import end_child, running_child
from tests.event_loop import LOOPS, run

CHILD = """
import os, signal, sys, time
from common.child_process import end_with_parent
end_with_parent(int(sys.argv[1]), 50)
print(os.getpid(), signal.alarm(50), flush=True)
time.sleep(50)
"""
PARENT = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], str(os.getpid())])
"""


def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    """A daemon that is killed leaves no iperf3 behind that would hold the port."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    number, seconds_left = map(int, parent.stdout.readline().split())
    assert 0 < seconds_left <= 50, "and at the latest when its time is up"
    child = psutil.Process(number)
    assert child.is_running()
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert gone
    assert not alive


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    """Between being started and watching its parent it may have become an orphan."""
    other = str(os.getppid())
    ended = subprocess.run([sys.executable, "-c", CHILD, other], capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "print('over')"])
def test_nothing_is_left_of_a_child_that_was_ended(loop: str, code: str) -> None:
    """Not its pipes either, which are closed later than it ends: here by one that it has started, which has them."""
    started = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(0.3)']); "
    )

    async def main() -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", started + "print('ready', flush=True); " + code, stdout=PIPE, stderr=PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        if "over" in code:
            await child.wait()
        await end_child(child)
        assert child.returncode == (0 if "over" in code else -9)

    run(main(), loop)  # which fails if anything is open at its end


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_left_of_a_child_that_nobody_wants_any_more_while_it_is_made(loop: str) -> None:
    """An edge may go at any moment of its cloud's starting an iperf3 server."""
    began = 0

    async def run_it() -> None:
        nonlocal began
        async with running_child("http.server", "--help"):
            began += 1
            await asyncio.Event().wait()

    async def main() -> None:
        for turns in range(30):
            running = asyncio.create_task(run_it())
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert psutil.Process().children() == [], turns

    run(main(), loop)  # which fails if anything is open at its end
    assert began
