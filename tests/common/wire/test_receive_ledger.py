"""Facts about the memory that all connections together receive into."""

from __future__ import annotations

import torch

from common.wire.incoming import aligned_buffer
from common.wire.receive_ledger import ReceiveLedger


def test_buffers_count_as_long_as_anything_refers_to_them() -> None:
    """A view does, and so does a tensor that lies in one; the next payload may have their place only then."""
    ledger = ReceiveLedger(1000)
    buffer = ledger.allocate(600)
    assert buffer is not None
    assert ledger.allocate(401) is None
    tensor = torch.frombuffer(buffer[64:128], dtype=torch.uint8)
    del buffer
    assert ledger.allocate(401) is None
    assert (ledger.held_bytes, ledger.refused) == (600, 2)
    del tensor
    assert ledger.held_bytes == 0
    assert ledger.allocate(1000) is not None


def test_a_payload_of_nothing_always_has_its_place() -> None:
    """Pings without one are answered by a cloud that has no memory to spare."""
    ledger = ReceiveLedger(100)
    held = ledger.allocate(100)
    empty = ledger.allocate(0)
    assert held is not None
    assert empty is not None
    assert empty.nbytes == 0


def test_what_the_memory_is_made_of_is_somebody_elses_choice() -> None:
    """An allocator that has none is believed, and costs nothing."""
    ledger = ReceiveLedger(1000, lambda nbytes: None if nbytes > 10 else aligned_buffer(nbytes))
    assert ledger.allocate(11) is None
    assert (ledger.held_bytes, ledger.refused) == (0, 0)
