"""Facts about a daemon's way to a profile: saved or measured, and never at the cost of the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.profile import ProfileStore
from models import measuring
from models.compute import ComputeThread
from models.executor import TorchExecutor
from models.measuring import frame_to_measure, load_or_measure
from models.preprocess import Preprocessing
from models.profiler import ProfileRun, sample_frame
from tests.event_loop import run
from tests.tiny_model import jpeg, tiny_model


def test_a_frame_that_the_model_refuses_is_not_measured_with() -> None:
    """Which shapes are too narrow is a matter of the model's own size; and no image is none for any."""
    strip = jpeg(0, (400, 16))
    assert frame_to_measure(strip, Preprocessing()) == strip
    assert frame_to_measure(strip, Preprocessing(crop_size=16, resize_size=2000)) == sample_frame()
    assert frame_to_measure(b"no image", Preprocessing()) == sample_frame()


def test_a_frame_that_there_is_no_memory_for_is_not_measured_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile of a sample is as good for the network."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(measuring, "resize", fail)
    assert frame_to_measure(jpeg(), Preprocessing()) == sample_frame()


def test_the_disk_is_never_waited_for_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy SD card takes seconds for a read or an fsync; the loop has pings to answer meanwhile."""
    touched: list[tuple[str, threading.Thread]] = []

    def noted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            touched.append((name, threading.current_thread()))
            return method(*arguments)

        return note

    for name in ("load", "save"):
        monkeypatch.setattr(ProfileStore, name, noted(name, getattr(ProfileStore, name)))

    async def main() -> None:
        compute = ComputeThread("test")
        try:
            store, executor = ProfileStore(tmp_path), TorchExecutor()
            first, again = (ProfileRun(tiny_model(), executor, jpeg()) for _ in range(2))
            measured = await load_or_measure(first, store, compute)
            assert await load_or_measure(again, store, compute) == measured
        finally:
            compute.stop(timeout_s=1.0)
        assert [name for name, _ in touched] == ["load", "save", "load"]
        assert threading.current_thread() not in [thread for _, thread in touched]

    run(main())
