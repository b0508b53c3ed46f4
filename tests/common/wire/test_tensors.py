"""Facts about tensors as bytes in a payload."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from common.errors import RemoteProtocolError
from common.wire.tensors import TensorEntry, entry_of, join, padding_after, payload_bytes, split


def entry(nbytes: int, unit: int = 0) -> TensorEntry:
    return TensorEntry(unit, "uint8", (nbytes,), nbytes)


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_joined_tensors_are_split_into_the_same_bytes(tensors: list[bytes]) -> None:
    """Whatever their sizes, empty ones among them, tensors come out of a payload as they went in."""
    entries = [entry(len(tensor), unit) for unit, tensor in enumerate(tensors)]
    payload = b"".join(join([memoryview(tensor) for tensor in tensors]))
    assert len(payload) == payload_bytes(entries)
    assert [bytes(view) for view in split(entries, memoryview(payload))] == tensors


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_every_tensor_starts_at_a_multiple_of_the_alignment(sizes: list[int]) -> None:
    """A tensor can be used where it lies in an aligned payload; only zeros lie between two of them."""
    chunks = join([memoryview(b"\xff" * size) for size in sizes])
    payload, at = b"".join(chunks), 0
    for size in sizes:
        assert at % limits.TENSOR_ALIGNMENT == 0
        assert payload[at : at + size] == b"\xff" * size
        gap = payload[at + size : at + size + padding_after(size)]
        assert not any(gap)
        at += size + padding_after(size)


def test_joining_copies_no_tensor() -> None:
    """The buffers to write are the tensors' own memory."""
    tensors = [memoryview(bytearray(100)), memoryview(bytearray(7))]
    chunks = join(tensors)
    tensors[0][0] = 42
    assert [chunk for chunk in chunks if isinstance(chunk, memoryview)] == tensors
    assert b"".join(chunks)[0] == 42


@given(st.lists(st.integers(0, 200), max_size=4), st.integers(0, 900))
def test_a_payload_of_another_length_is_refused(sizes: list[int], nbytes: int) -> None:
    """One byte more or less than the entries add up to is the peer's error, with both numbers."""
    entries = [entry(size) for size in sizes]
    if nbytes == payload_bytes(entries):
        nbytes += 1
    with pytest.raises(
        RemoteProtocolError, match=f"payload of {nbytes} bytes.* make {payload_bytes(entries)}"
    ):
        split(entries, memoryview(bytes(nbytes)))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ((0, "float32", (2, 3), 23), "23 bytes announced, its shape and type make 24"),
        ((0, "float32", (2, 3), 24.0), "24.0 bytes announced"),
        ((0, "uint8", (1,), True), "True bytes announced"),
        ((0, "float32", (), 0), "make 4"),
        ((0, "object", (1,), 8), "dtype 'object' is not one of"),
        ((0, ("float32",), (1,), 4), "dtype"),
        ((0, {}, (1,), 4), "unhashable"),
        ((0, "uint8", (-1,), -1), "not of plain sizes"),
        ((0, "uint8", (True,), 1), "not of plain sizes"),
        ((0, "uint8", (1.0,), 1), "not of plain sizes"),
        ((0, "uint8", ("1",), 1), "not of plain sizes"),
        ((0, "uint8", (limits.MAX_PAYLOAD_BYTES + 1,), limits.MAX_PAYLOAD_BYTES + 1), "not of plain sizes"),
        ((0, "uint8", (2**60, 0), 0), "not of plain sizes"),
        ((0, "uint8", (0, 2**26, 2**26, 2**26), 0), f"the limit is {limits.MAX_PAYLOAD_BYTES}"),
        ((0, "uint8", "1", 1), "rank"),
        ((0, "uint8", (1,) * (limits.MAX_RANK + 1), 1), "rank above 8"),
        ((0, "uint8", (1,), 1, "pickle"), "codec 'pickle' is not known"),
        ((0, "uint8", (1,), 1, None), "codec None is not known"),
        ((-1, "uint8", (1,), 1), "unit -1"),
        ((limits.MAX_UNITS, "uint8", (1,), 1), "not an index below"),
        (("0", "uint8", (1,), 1), "unit '0'"),
        ((0, "uint8", (1, 2), 2, "raw", (0,)), "no order of its 2 dimensions"),
        ((0, "uint8", (1, 2), 2, "raw", (1, 1)), "no order of its 2 dimensions"),
        ((0, "uint8", (1, 2), 2, "raw", (1, 2)), "no order of its 2 dimensions"),
        ((0, "uint8", (1, 2), 2, "raw", (True, False)), "no order of its 2 dimensions"),
        ((0, "uint8", (1, 2), 2, "raw", "01"), "no order of its 2 dimensions"),
        ((0, "uint8", (1, 2), 2, "raw", 1), "no order of its 2 dimensions"),
        ((True, "uint8", (1,), 1), "unit True"),
    ],
)
def test_every_lie_in_an_entry_is_refused(fields: tuple[Any, ...], complaint: str) -> None:
    """Type, shape, size, codec and unit are checked before anything is done with a tensor."""
    with pytest.raises(RemoteProtocolError, match=complaint):
        TensorEntry(*fields)


@given(st.sampled_from(["bool", "int16", "float32", "float64"]), st.lists(st.integers(0, 5), max_size=8))
def test_the_size_follows_from_type_and_shape(dtype: str, shape: list[int]) -> None:
    """Exactly one size fits an entry: the product of its shape and its element's size."""
    size = {"bool": 1, "int16": 2, "float32": 4, "float64": 8}[dtype] * math.prod(shape)
    assert TensorEntry(0, dtype, tuple(shape), size).spec.nbytes == size
    with pytest.raises(RemoteProtocolError):
        TensorEntry(0, dtype, tuple(shape), size + 1)


def test_an_entry_is_checked_once_for_all_frames_that_have_the_same() -> None:
    """Each crossing tensor comes with every frame; one entry stands for all of them."""
    fields = (3, "float32", (1, 8, 4, 4), 512, "raw", (0, 2, 3, 1))
    assert entry_of(*fields) is entry_of(*fields)
    assert entry_of(*fields) == TensorEntry(*fields)
    assert entry_of(3, "float32", (1, 8, 4, 4), 512, "raw", ()).order == ()


@pytest.mark.parametrize(
    "lie",
    [
        (True, "uint8", (1, 5), 5, "raw", ()),
        (1.0, "uint8", (1, 5), 5, "raw", ()),
        (1, "uint8", (True, 5), 5, "raw", ()),
        (1, "uint8", (1, 5.0), 5, "raw", ()),
        (1, "uint8", (1, 5), 5.0, "raw", ()),
        (1, "uint8", [1, 5], 5, "raw", ()),
        (1, "uint8", (1, 5), 5, "raw", []),
        (1, "uint8", (1, 5), 5, "raw", (False, True)),
        (1, "uint8", (1,), 5, "raw", (5,)),
        (1, "uint8", None, 5, "raw", ()),
        (1, "uint8", "15", 5, "raw", ()),
    ],
)
def test_what_looks_like_an_entry_that_was_found_right_is_refused(lie: tuple[Any, ...]) -> None:
    """True is 1 and 5.0 is 5 to Python, and not on the wire."""
    entry_of(1, "uint8", (1, 5), 5, "raw", ())
    with pytest.raises(RemoteProtocolError):
        entry_of(*lie)
