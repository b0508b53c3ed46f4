"""Facts about the threads that make stages beside frames."""

from __future__ import annotations

import os
import sys
import threading
from unittest.mock import Mock

import pytest

from common.niceness import GIVES_WAY, HALF_AS_URGENT, MOST
from models.compute import Patience
from models.onnx_executor import OnnxExecutor
from models.stage_threads import StageThreads


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has its own niceness on Linux only")
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_plan_waits_for_gives_way_a_little_and_what_is_measured_much(threads: int) -> None:
    """From the first stage on. And where a stage of onnxruntime has threads of its own, neither does: they would have
    the priority of the one that compiled it for good."""

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    executor = OnnxExecutor(Mock(network_units=()), Mock(threads=threads), Mock())
    stages, usual = StageThreads.of_executor(executor), niceness()
    try:
        asked = (Patience.PREPARE, Patience.FRAME, Patience.MEASURE)
        threads_asked = [stages.of(patience) for patience in asked]
        found = [thread.submit(niceness).result(10).result - usual for thread in threads_asked if thread]
    finally:
        stages.stop(5.0)
    room = MOST - usual
    little, much = (min(HALF_AS_URGENT, room), min(GIVES_WAY, room)) if threads == 1 else (0, 0)
    assert found == [little, little, much]


def test_all_are_idle_only_when_each_is() -> None:
    """What is measured meanwhile is slower, whichever of them works."""
    threads = StageThreads.begin(gives_way=True)
    try:
        assert threads.idle
        for thread in threads.all:
            begun, end = threading.Event(), threading.Event()
            job = thread.submit(lambda begun=begun, end=end: (begun.set(), end.wait(10)))
            begun.wait(10)
            assert not threads.idle
            end.set()
            job.result(10)
    finally:
        threads.stop(5.0)
