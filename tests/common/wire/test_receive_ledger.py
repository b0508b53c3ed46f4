"""Facts about the memory that all connections together receive into."""

from __future__ import annotations

import torch

from common import limits
from common.wire.incoming import aligned_buffer
from common.wire.receive_ledger import ReceiveLedger

MOST = limits.MAX_PAYLOAD_BYTES


def test_buffers_count_as_long_as_anything_refers_to_them() -> None:
    """A view does, and so does a tensor that lies in one; the next payload may have their place only then."""
    ledger = ReceiveLedger(1000)
    buffer = ledger.allocate(600, "porch")
    assert buffer is not None
    assert ledger.allocate(401, "porch") is None
    tensor = torch.frombuffer(buffer[64:128], dtype=torch.uint8)
    del buffer
    assert ledger.allocate(401, "porch") is None
    assert (ledger.held_bytes, ledger.refused) == (600, 2)
    del tensor
    assert ledger.held_bytes == 0
    assert ledger.allocate(1000, "porch") is not None


def test_a_payload_of_nothing_always_has_its_place() -> None:
    """Pings without one are answered by a cloud that has no memory to spare."""
    ledger = ReceiveLedger(100)
    held = ledger.allocate(100, "porch")
    empty = ledger.allocate(0, "porch")
    assert held is not None
    assert empty is not None
    assert empty.nbytes == 0


def test_what_the_memory_is_made_of_is_somebody_elses_choice() -> None:
    """An allocator that has none is believed, and costs nothing."""
    ledger = ReceiveLedger(1000, lambda nbytes: None if nbytes > 10 else aligned_buffer(nbytes))
    assert ledger.allocate(11, "porch") is None
    assert (ledger.held_bytes, ledger.refused) == (0, 0)


def test_one_peer_holds_half_of_it_at_most() -> None:
    """On however many connections; what it gives back is anybody's again, its own, too."""
    ledger = ReceiveLedger(10 * MOST)
    greedy = [ledger.account() for _ in range(3)]
    for account in greedy:
        account.owner = "greedy"
    other = ledger.account()
    held = [greedy[at % 3].allocate(MOST) for at in range(5)]
    assert None not in held
    assert greedy[0].allocate(1) is None
    assert other.allocate(MOST) is not None
    held.pop()
    assert greedy[1].allocate(MOST) is not None


def test_the_largest_payload_has_its_place_where_the_memory_is_small() -> None:
    """Half of it would be too little for any edge."""
    ledger = ReceiveLedger(MOST)
    assert ledger.share_bytes == MOST
    assert ledger.account().allocate(MOST) is not None
    assert ReceiveLedger(1000).share_bytes == 1000
