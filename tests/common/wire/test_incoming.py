"""Facts about payloads that come in, and those for which there is no memory."""

from __future__ import annotations

import pytest

from common.wire.incoming import IncomingPayload, aligned_buffer

FIRST = memoryview(b"abc")


def put(payload: IncomingPayload, data: bytes) -> None:
    buffer = payload.next_buffer()
    buffer[: len(data)] = data
    payload.took(len(data))


def test_what_comes_with_the_header_and_after_it_is_one_payload() -> None:
    """Only what came after it is spaced: that tells the bandwidth."""
    payload = IncomingPayload(8, aligned_buffer, 1.5, FIRST)
    assert payload.next_buffer().nbytes == 5
    put(payload, b"de")
    assert not payload.complete
    put(payload, b"fgh")
    assert payload.complete
    assert bytes(payload.view) == b"abcdefgh"
    assert (payload.spaced_bytes, payload.since, payload.dropped) == (5, 1.5, False)


@pytest.mark.parametrize("given_up", [False, True])
def test_without_memory_all_bytes_are_taken_and_none_is_kept(given_up: bool) -> None:
    """From the beginning, or from when it was given up: the stream goes on behind it either way."""
    payload = IncomingPayload(200_000, aligned_buffer if given_up else lambda _: None, 0.0, FIRST)
    payload.give_up()
    taken = 3
    while not payload.complete:
        size = payload.next_buffer().nbytes
        assert 0 < size <= 64 * 1024
        put(payload, bytes(size))
        taken += size
    assert taken == 200_000
    assert payload.spaced_bytes == 200_000 - 3
    assert payload.dropped
    assert payload.view.nbytes == 0
