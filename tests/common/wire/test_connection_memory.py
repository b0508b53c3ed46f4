"""Facts about messages for whose payload there is no memory, or no use any more."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from common import limits
from common.wire.connection import Connection, Received, Role
from common.wire.messages import Infer, Ping, ProfileRequest, Welcome
from tests.common.wire.samples import SAMPLES, packed
from tests.common.wire.test_connection import opened

PAYLOAD = bytes(300_000)
FRAME = SAMPLES[Infer]
assert isinstance(FRAME, Infer)


def heard(connection: Connection, data: bytes, now: float = 0.0) -> list[Received]:
    return list(connection.feed(data, now))


def test_without_memory_a_message_is_heard_without_its_payload() -> None:
    """All its bytes are taken off the stream: what follows is heard as ever, and the arrival was timed."""
    connection = opened(Role.CLOUD, allocate=lambda nbytes: None if nbytes else memoryview(bytearray()))
    stream = packed(FRAME, PAYLOAD)
    assert heard(connection, stream[:50_000], 1.0) == []
    frame, ping = heard(connection, stream[50_000:] + packed(Ping(number=5)), 3.0)
    assert (frame.message, frame.dropped, frame.payload.nbytes) == (FRAME, True, 0)
    assert frame.receive_s == pytest.approx(2.0)
    assert 200_000 < frame.spaced_bytes < len(PAYLOAD)
    assert (ping.message, ping.dropped) == (Ping(number=5), False)


@pytest.mark.parametrize(
    ("message", "useful_for_s"),
    [
        (replace(FRAME, deadline_ms=900.0), 0.9),
        (replace(FRAME, deadline_ms=1e9), limits.LONGEST_MESSAGE_S),
        (ProfileRequest(), limits.LONGEST_MESSAGE_S),
    ],
    ids=["a frame", "a frame that is waited for for ever", "a request"],
)
def test_what_comes_in_too_slowly_gives_its_memory_back(
    message: Infer | ProfileRequest, useful_for_s: float
) -> None:
    """At its deadline, while the peer dribbles on and is no reason to end the connection; then it is heard, empty."""
    given: list[weakref.ref[np.ndarray]] = []

    def allocate(nbytes: int) -> memoryview:
        memory = np.empty(nbytes, np.uint8)
        given.append(weakref.ref(memory))
        return memory.data

    connection = opened(Role.CLOUD, allocate=allocate)
    stream = packed(message, PAYLOAD)
    given.clear()
    now, at = 0.0, 400
    assert heard(connection, stream[:at]) == []
    while now < useful_for_s:
        assert heard(connection, stream[at : at + 100], now) == []
        at += 100
        connection.on_time(now)
        assert [memory() is not None for memory in given] == [True]
        now += min(4.0, useful_for_s / 3)
    connection.on_time(now + 0.01)
    gc.collect()
    assert [memory() for memory in given] == [None]
    (event,) = heard(connection, stream[at:], now + 0.02)
    assert (event.message, event.dropped) == (message, True)
    (after,) = heard(connection, packed(Ping(number=9)), now + 0.03)
    assert not after.dropped


def test_an_edge_has_memory_for_what_it_asked_for() -> None:
    """The greeting's messages have no payload, and none is dropped."""
    connection = Connection(Role.EDGE, 0.0, lambda nbytes: None if nbytes else memoryview(bytearray()))
    (event,) = heard(connection, packed(SAMPLES[Welcome]))
    assert not event.dropped
