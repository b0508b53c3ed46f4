"""Facts about receive buffers: each is its holder's alone, as long as anybody holds it, and no longer."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.graph import TensorSpec
from common.limits import TENSOR_ALIGNMENT
from models.pinned_memory import LEAST_BYTES, Arena, PinnedPool
from models.tensor_memory import tensor_of

ARENA_BYTES = 4096
POOL_BYTES = 1 << 20


@given(st.lists(st.one_of(st.integers(1, 1500), st.none()), max_size=60), st.randoms())
def test_pieces_never_overlap_and_all_come_back(requests: list[int | None], chance: object) -> None:
    """Whatever is taken and given back in whatever order; in the end the block is one piece again."""
    arena = Arena(ARENA_BYTES)
    taken: dict[int, int] = {}
    for nbytes in requests:
        if nbytes is None:
            if taken:
                offset = chance.choice(sorted(taken))  # type: ignore[attr-defined]
                del taken[offset]
                arena.give_back(offset)
            continue
        largest = arena.largest_bytes
        found = arena.take(nbytes)
        if found is None:
            assert largest < nbytes
            continue
        assert found % TENSOR_ALIGNMENT == 0
        assert 0 <= found <= ARENA_BYTES - nbytes
        assert all(found + nbytes <= at or at + length <= found for at, length in taken.items())
        taken[found] = nbytes
    for offset in taken:
        arena.give_back(offset)
    assert arena.largest_bytes == arena.free_bytes == ARENA_BYTES


def test_what_was_not_taken_cannot_be_given_back() -> None:
    arena = Arena(ARENA_BYTES)
    offset = arena.take(100)
    assert offset is not None
    arena.give_back(offset)
    with pytest.raises(KeyError):
        arena.give_back(offset)


def pool() -> PinnedPool:
    return PinnedPool(torch.zeros(POOL_BYTES, dtype=torch.uint8))


def free(pool: PinnedPool) -> int:
    pool.collect()
    return pool.arena.free_bytes


def test_buffers_lie_in_the_block_where_tensors_may_lie() -> None:
    """Writable, of exactly the length, aligned; and the block's memory itself, no copy of it."""
    block = torch.zeros(POOL_BYTES, dtype=torch.uint8)
    one = PinnedPool(block)
    buffer = one.allocate(100_001)
    assert buffer.nbytes == 100_001
    buffer[:] = b"x" * 100_001
    assert int((block == ord("x")).sum()) == 100_001
    address = torch.frombuffer(buffer, dtype=torch.uint8).data_ptr()
    assert address % TENSOR_ALIGNMENT == 0
    assert block.data_ptr() <= address < block.data_ptr() + POOL_BYTES


@pytest.mark.parametrize("order", [(), (0, 2, 3, 1)])
def test_a_tensor_holds_its_buffer(order: tuple[int, ...]) -> None:
    """However it was sliced, and though nobody holds the view it was made of."""
    one = pool()
    whole = free(one)
    buffer = one.allocate(200_000)
    spec = TensorSpec("float32", (1, 8, 64, 64))
    tensor = tensor_of(buffer[: spec.nbytes], spec, order)
    del buffer
    gc.collect()
    assert free(one) < whole
    part = tensor[:, :2]
    del tensor
    assert free(one) < whole
    del part
    assert free(one) == whole


def test_a_buffer_may_die_on_any_thread() -> None:
    """The compute thread is often the last to hold one."""
    one = pool()
    whole = free(one)
    held = [one.allocate(50_000) for _ in range(10)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert free(one) == whole


def test_without_a_place_memory_is_plain() -> None:
    """The pool is bounded; what does not fit is received all the same, and small payloads take no place."""
    block = torch.zeros(POOL_BYTES, dtype=torch.uint8)
    one = PinnedPool(block)
    whole = free(one)
    small = one.allocate(LEAST_BYTES - 1)
    empty = one.allocate(0)
    assert free(one) == whole
    assert (small.nbytes, empty.nbytes) == (LEAST_BYTES - 1, 0)
    held = [one.allocate(300_000) for _ in range(5)]
    assert all(buffer.nbytes == 300_000 for buffer in held)
    addresses = [torch.frombuffer(buffer, dtype=torch.uint8).data_ptr() for buffer in held]
    inside = [block.data_ptr() <= address < block.data_ptr() + POOL_BYTES for address in addresses]
    assert inside == [True, True, True, False, False]
    held.clear()
    assert free(one) == whole


def test_buffers_outlive_their_pool() -> None:
    """A frame that is still on its way when the daemon lets the pool go keeps the block."""
    one = pool()
    buffer = one.allocate(100_000)
    buffer[:3] = b"abc"
    del one
    gc.collect()
    assert bytes(buffer[:3]) == b"abc"
