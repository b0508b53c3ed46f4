"""Facts about the threads that make stages beside frames."""

from __future__ import annotations

import os
import sys
import threading
from unittest.mock import Mock

import pytest

from common.niceness import GIVES_WAY, MOST
from models.compute import Patience
from models.onnx_executor import OnnxExecutor
from models.stage_threads import StageThreads


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has its own niceness on Linux only")
@pytest.mark.parametrize("threads", [1, 2])
def test_only_what_is_measured_gives_way_to_frames(threads: int) -> None:
    """From its first stage on; what a plan waits for has all that frames have. And where a stage of onnxruntime has
    threads of its own, none does: they would have the priority of the one that compiled it for good."""

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    executor = OnnxExecutor(Mock(network_units=()), Mock(threads=threads), Mock())
    stages, usual = StageThreads.of_executor(executor), niceness()
    try:
        asked = (Patience.PREPARE, Patience.FRAME, Patience.MEASURE)
        found = {patience: stages.of(patience).submit(niceness).result(10).result for patience in asked}
    finally:
        stages.stop(5.0)
    behind = min(usual + GIVES_WAY, MOST) if threads == 1 else usual
    assert found == {Patience.PREPARE: usual, Patience.FRAME: usual, Patience.MEASURE: behind}


def test_all_are_idle_only_when_each_is() -> None:
    """What is measured meanwhile is slower, whichever of them works."""
    threads = StageThreads(gives_way=True)
    try:
        assert threads.idle
        for patience in (Patience.PREPARE, Patience.MEASURE):
            begun, end = threading.Event(), threading.Event()
            job = threads.of(patience).submit(lambda begun=begun, end=end: (begun.set(), end.wait(10)))
            begun.wait(10)
            assert not threads.idle
            end.set()
            job.result(10)
    finally:
        threads.stop(5.0)
