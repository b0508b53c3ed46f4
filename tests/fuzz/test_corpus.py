"""Facts about every file of the corpus: what once went wrong, or is an abuse of its own, is refused for ever."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common import limits
from common.errors import FrameError, RemoteProtocolError
from common.wire.connection import Role, State
from common.wire.tensors import TensorEntry
from models.codecs import decode
from models.preprocess import as_frame
from models.preprocess import decode as decode_frame
from tests.fuzz.oracle import hear, octets, pieces
from tests.fuzz.test_memory import taken
from tests.fuzz.write_corpus import CORPUS

HARMLESS = {
    "edge-open-after-the-end": "9 heard to the end",
    "cloud-open-64-MiB-announced-one-byte-sent": "8 waits for more",
}
"""Streams that break no rule: what comes after the end is not heard, and what has not come is waited for."""


def files(suffix: str) -> pytest.MarkDecorator:
    found = sorted(CORPUS.glob(f"*.{suffix}"))
    assert found, f"no {suffix} in {CORPUS}"
    return pytest.mark.parametrize("path", found, ids=lambda path: path.stem)


@files("stream")
@pytest.mark.usefixtures("traced")
def test_a_stream_is_refused_within_its_memory_however_it_is_cut(path: Path) -> None:
    """The peer's error, the same whole, in halves and byte by byte, short and on one line."""
    role, state = (text.upper() for text in path.stem.split("-")[:2])
    stream = path.read_bytes()
    whole = hear(Role[role], State[state], [stream])
    if path.stem in HARMLESS:
        assert whole.depth == HARMLESS[path.stem]
    else:
        assert whole.error is not None
        assert whole.error.isprintable()
        assert len(whole.error) <= limits.MAX_REASON_CHARS
    assert hear(Role[role], State[state], pieces(stream, [len(stream) // 2])) == whole
    assert hear(Role[role], State[state], octets(stream)) == whole
    assert taken(Role[role], State[state], stream) <= 2 * len(stream) + limits.MIB


@files("tensor")
def test_a_tensor_is_refused(path: Path) -> None:
    """By its bytes, not by its description, which is in order."""
    parts = re.fullmatch(r"([^-]+)-([^-]+)-([\dx]+)-.+", path.stem)
    assert parts is not None
    shape = tuple(int(size) for size in parts[3].split("x"))
    entry = TensorEntry(1, parts[2], shape, path.stat().st_size, parts[1])
    with pytest.raises(RemoteProtocolError, match="tensor of unit 1"):
        decode(entry, memoryview(bytearray(path.read_bytes())))


@files("frame")
def test_a_frame_is_refused(path: Path) -> None:
    """As the frame's own fault: the run goes on."""
    with pytest.raises(FrameError):
        decode_frame(as_frame(path.read_bytes()))
