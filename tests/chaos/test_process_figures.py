"""Facts about what is asked of the kernel and of a daemon's loop: figures are those of the process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.chaos.process_figures import has_children, look, parse_rollup, rss_bytes
from tests.chaos.task_report import ask_for_tasks, report_tasks

MIB = 1024 * 1024


def test_memory_descriptors_and_threads_are_the_process_own() -> None:
    """What this process takes shows in its figures."""
    before = look(os.getpid())
    held = bytearray(os.urandom(MIB)) * 64
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    with open(os.devnull) as _:
        after = look(os.getpid())
    gate.set()
    thread.join()
    assert after.rss_bytes - before.rss_bytes > 48 * MIB
    assert after.anonymous_bytes - before.anonymous_bytes > 48 * MIB
    assert after.descriptors == before.descriptors + 1
    assert after.threads == before.threads + 1
    assert rss_bytes(os.getpid()) == pytest.approx(after.rss_bytes, rel=0.1)
    assert len(held) == 64 * MIB


def test_a_process_that_is_gone_is_an_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(OSError):  # noqa: PT011 (of whatever kind)
        look(child.pid)
    assert not has_children(child.pid)


def test_children_are_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert has_children(os.getpid())
        assert not has_children(child.pid)
        child.communicate(b"\n")


def test_a_rollup_is_read() -> None:
    text = (
        "00400000-7fff0000 ---p 00000000 00:00 0   [rollup]\nRss:    12 kB\nPss:   3 kB\nAnonymous:  1 kB\n"
    )
    assert parse_rollup(text) == {"Rss": 12 * 1024, "Pss": 3 * 1024, "Anonymous": 1024}


def test_a_process_tells_its_tasks_when_asked(tmp_path: Path) -> None:
    """By what they run; a process that does not answer is not waited for for ever."""
    path = tmp_path / "tasks"

    async def main() -> None:
        report_tasks(path)
        gate = asyncio.Event()
        waiting = [asyncio.create_task(gate.wait()) for _ in range(3)]
        told = await asyncio.to_thread(ask_for_tasks, os.getpid(), path)
        assert told is not None
        assert told["Event.wait"] == 3
        gate.set()
        await asyncio.gather(*waiting)

    asyncio.run(main())
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN); print(1); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as deaf:  # fmt: skip
        assert deaf.stdout is not None
        deaf.stdout.readline()
        assert ask_for_tasks(deaf.pid, path, timeout_s=0.05) is None
        deaf.communicate(b"\n")
