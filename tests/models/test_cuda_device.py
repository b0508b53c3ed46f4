"""Facts about waiting for a device, proved with one that knows what is queued."""

from __future__ import annotations

import pytest

from models.cuda_device import Cuda, queueing, working
from tests.models.fake_cuda import FakeCuda


def test_the_fake_is_a_device() -> None:
    device: Cuda = FakeCuda()
    assert device.description == "a GPU"


def test_work_has_ended_when_it_is_left() -> None:
    """On the own stream, and nothing is queued behind it: what it read may be freed, what it wrote be read."""
    cuda = FakeCuda()
    with working(cuda):
        assert cuda.within
        assert cuda.queued
    assert not cuda.queued
    assert not cuda.within


def test_work_that_fails_has_ended_too() -> None:
    """Copies that were queued before the error read memory that the caller frees."""
    cuda = FakeCuda()
    for way in (working, queueing):
        with pytest.raises(KeyError), way(cuda):
            raise KeyError
        assert not cuda.queued


def test_queueing_waits_for_nothing() -> None:
    cuda = FakeCuda()
    with queueing(cuda):
        pass
    assert cuda.queued
