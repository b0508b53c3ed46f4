"""Facts about how much of what was sent has arrived, where a TLS layer holds some of it that nobody counts."""

from __future__ import annotations

import socket

from common.wire.confirmed_bytes import (
    RECORD_SHARE,
    ConfirmedUnderTls,
    acknowledged_bytes,
    unacknowledged_bytes,
)

HANDSHAKE = 1_500
MESSAGE = 1_000_000


def on_wire(nbytes: int) -> int:
    """So many bytes in records of the largest size."""
    return round(nbytes / RECORD_SHARE)


def test_what_the_layer_holds_has_not_arrived() -> None:
    """It is in no queue that can be asked: only what the peer has confirmed counts."""
    tls = ConfirmedUnderTls(HANDSHAKE)
    held_by_the_layer, in_queues = 128_000, 500_000
    arrived = MESSAGE - held_by_the_layer - in_queues
    assert abs(tls.of(MESSAGE, in_queues, HANDSHAKE + on_wire(arrived)) - arrived) <= 1


def test_a_kernel_that_is_empty_for_a_moment_is_not_the_end() -> None:
    """The layer has not handed it the rest yet; what is confirmed after that is counted on."""
    tls = ConfirmedUnderTls(HANDSHAKE)
    for arrived in (870_000, 900_000):
        assert abs(tls.of(MESSAGE, 0, HANDSHAKE + on_wire(arrived)) - arrived) <= 1
    assert tls.of(MESSAGE, 0, HANDSHAKE + on_wire(MESSAGE)) == MESSAGE


def test_short_messages_do_not_add_up_to_an_error() -> None:
    """Their records carry less than the largest do; whenever all has arrived, it is counted from there."""
    tls = ConfirmedUnderTls(0)
    handed = acknowledged = 0
    for _ in range(1_000):
        handed += 40
        acknowledged += 62
        assert tls.of(handed, 0, acknowledged) == handed
    assert abs(tls.of(handed + MESSAGE, 0, acknowledged + on_wire(1_000)) - handed - 1_000) <= 1


def test_more_never_arrives_than_has_left() -> None:
    """What waits here, and what the kernel holds, has not, whatever the records carry."""
    tls = ConfirmedUnderTls(0)
    assert tls.of(100_000, 90_000, 15_000) == 10_000
    assert tls.of(0, 200, 0) == 0, "the rest of the handshake is nobody's message"


def test_where_the_system_does_not_tell_what_has_left_counts() -> None:
    """As it does without TLS."""
    assert ConfirmedUnderTls(None).of(1_000, 300, None) == 700


def test_kernels_tell_what_has_and_has_not_arrived() -> None:
    """On a connection whose peer does not read; and of one that is closed nothing is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        with near, far:
            begun = acknowledged_bytes(near)
            assert begun is not None
            near.sendall(b"x" * 1_000)
            while unacknowledged_bytes(near):
                pass
            assert acknowledged_bytes(near) == begun + 1_000
            near.setblocking(False)
            sent = 1_000
            try:
                while True:
                    sent += near.send(bytes(65_536))
            except BlockingIOError:
                waiting, arrived = unacknowledged_bytes(near), acknowledged_bytes(near)
            assert arrived is not None
            assert waiting > 0
            assert sent - waiting <= arrived - begun <= sent
    assert unacknowledged_bytes(near) == 0
    assert acknowledged_bytes(near) is None
    assert (unacknowledged_bytes(None), acknowledged_bytes(None)) == (0, None)
