"""Structured mutants of valid conversations: what a peer that is broken, foreign or hostile may send.

    block of 1,000 ── one generator ──► mutant 0, mutant 1, …        mutant n = block n // 1,000, place n % 1,000

A mutant is a whole stream for one hearer: now and then a greeting, valid messages, one message damaged in one of the
ways of `WAYS`, a valid message after it. The same number always makes the same bytes, on every machine.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgpack

from common import limits
from common.wire.connection import Role, State
from common.wire.framing import MAGIC, PREFIX
from common.wire.messages import MESSAGES, Hello, Infer, Message, Refused, Welcome
from common.wire.tensors import TensorEntry
from tests.common.wire.samples import SAMPLES, payload_for

BLOCK = 1_000

CODECS = (
    Infer(
        frame=8,
        epoch=3,
        deadline_ms=900.0,
        tensors=(
            TensorEntry(1, "float32", (1, 2, 3, 4), 96, "raw", (0, 2, 3, 1)),
            TensorEntry(4, "float32", (1, 2, 3, 4), 40, "int8"),
            TensorEntry(5, "float32", (5, 5), 50, "f16"),
            TensorEntry(6, "float32", (1, 64), 21, "zstd"),
            TensorEntry(7, "uint8", (9, 9, 3), 70, "jpeg90"),
        ),
    ),
    Infer(
        frame=9,
        epoch=3,
        deadline_ms=900.0,
        tensors=(TensorEntry(2, "float32", (10, 1024, 1024), 21, "zstd"),),
    ),  # 40 MiB of the 64 that a message may stand for
)
"""Messages with more in them than the samples of their types."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A stream of bytes for a connection of `role` in `state`; `way` names how it was damaged."""

    role: Role
    state: State
    way: str
    stream: bytes


@dataclass(frozen=True, slots=True)
class _Valid:
    """A valid message: its type byte, its fields, its payload, and the whole of it on the wire."""

    code: int
    header: dict[str, Any]
    payload: bytes
    wire: bytes


def _valid(message: Message) -> _Valid:
    payload = payload_for(message)
    size = sum(e.nbytes + -e.nbytes % 64 for e in getattr(message, "tensors", ())[:-1])
    if size:  # tensors before the last one are padded
        payload = bytes(size + message.tensors[-1].nbytes)  # type: ignore[attr-defined]
    header = message.header()
    return _Valid(message.code, header, payload, _wire(message.code, msgpack.packb(header), payload))


def _wire(code: int, header: bytes, payload: bytes) -> bytes:
    return PREFIX.pack(MAGIC, code, 0, len(header) & 0xFFFF, len(payload)) + header + payload


_BY_CODE = {kind.code: _valid(SAMPLES[kind]) for kind in MESSAGES.values()}
_RICH = [_valid(message) for message in CODECS]
_EDGE_SAYS = [_BY_CODE[code] for code in (4, 6, 8, 12, 15, 16, 17, 19)] + _RICH
_CLOUD_SAYS = [_BY_CODE[code] for code in (5, 7, 9, 9, 10, 11, 13, 14, 15, 16, 17, 20)]
_SAYS = {Role.CLOUD: _EDGE_SAYS, Role.EDGE: _CLOUD_SAYS}
_GREETS = {Role.CLOUD: [_BY_CODE[Hello.code]], Role.EDGE: [_BY_CODE[Welcome.code], _BY_CODE[Refused.code]]}
_EVERY = [*_BY_CODE.values(), *_RICH]

_NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 9, 63, 64, 65, 127, 128, 255, 256, 1024, 1025, 4095, 4096, 65535, 65536,
    2**26 - 1, 2**26, 2**26 + 1, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63),
    0.0, -0.0, 0.5, 1e308, -1.0, 5e-324, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
_TEXTS = (
    "", "a", "x" * 200, "x" * 201, "x" * 600, "x" * 601, "x" * 3_000, "\x00", "a\nb", "\x1b[2J", "\u202egpj",
    "é" * 99,
    "../../etc/passwd", "/dev/mem", "raw", "zstd", "f16", "int8", "int8-zstd", "jpeg0", "jpeg100", "jpeg101",
    "webp80",
    "float32", "object", "complex64", "answer", "model", "0" * 64, "F" * 64,
)  # fmt: skip
_DEEP: list[Any] = []
for _ in range(60):
    _DEEP = [_DEEP]
_OTHERS: tuple[Any, ...] = (
    None, True, False, b"", b"bytes", [], {}, [[]], [[[[]]]], [0], [0] * 9, [-1], [0, 0], [1, 2, 3], [[1, "answer"]],
    [2**26] * 8, [0] + [2**26] * 7, [None] * 90, {"a": 1}, {"unit": {}}, [1.0], ["1"], _DEEP, list(range(99)),
    [1, "uint8", [3], 3, "raw", []], [[1, "uint8", [3], 3, "raw", []]], [[1, "uint8", [], 1, "raw", []]] * 257,
    msgpack.ExtType(5, b"x"), msgpack.Timestamp(0),
)  # fmt: skip
_RAW = (
    b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\x91" * 2_000, b"\x81\xa1a" * 600, b"\xc9\xff\xff\xff\xff\x01", b"\xa2\xff\xfe", b"\x90" * 700,
    b"\xa3\xed\xa0\x80", b"\xdc\x10\x01" + bytes(4_097), b"\xdc\x08\x00" + b"\x90" * 2_048, b"\xd9\x05ab",
)  # fmt: skip
"""No msgpack, or msgpack that claims more than it has."""


class _Maker:
    """Makes mutants with one generator of randomness."""

    def __init__(self, block: int) -> None:
        self._random = random.Random(block)
        self._pick = self._random.choice
        self._below = self._random._randbelow  # type: ignore[attr-defined]  # a third of randrange's time

    def mutant(self) -> Mutant:
        below = self._below
        role = Role.CLOUD if below(2) else Role.EDGE
        greeting = below(8) == 0
        victim: _Valid = self._pick(_GREETS[role] if greeting else _SAYS[role])
        way = self._pick(_WEIGHTED)
        damaged = way(self, victim)
        after: bytes = self._pick(_SAYS[role]).wire if below(2) else b""
        if greeting:
            return Mutant(role, State.GREETING, way.__name__, damaged + after)
        before: bytes = self._pick(_SAYS[role]).wire if below(4) == 0 else b""
        state = State.DRAINING if below(16) == 0 else State.OPEN
        return Mutant(role, state, way.__name__, before + damaged + after)

    # --- what a value may become ------------------------------------------------------------------------
    def garbage(self) -> Any:
        return self._pick(self._pick((_NUMBERS, _NUMBERS, _TEXTS, _OTHERS)))

    def changed(self, value: Any) -> Any:
        """Make something else of a field's value, or of one deep in it; often of the same type."""
        kind, below = type(value), self._below
        if kind is tuple or kind is list:
            return self._changed_list(list(value))
        if below(3) == 0:
            return self.garbage()
        if kind is bool:
            return not value
        if kind is int:
            return self._pick((value + 1, value - 1, value * 2, -value, float(value), self._pick(_NUMBERS)))
        if kind is float:
            return self._pick((-value, value + 0.5, int(value), self._pick(_NUMBERS)))
        return self._pick((value[:-1], value + "x", value.upper(), value * 40, self._pick(_TEXTS)))

    def _changed_list(self, items: list[Any]) -> Any:
        below = self._below
        if not items or below(6) == 0:
            return self.garbage()
        at = below(len(items))
        what = below(12)
        if what == 0:
            del items[at]
        elif what == 1:
            items.insert(at, items[below(len(items))])
        elif what == 2:
            items[at], items[0] = items[0], items[at]
        elif what == 3:
            items.append(self.garbage())
        elif what == 4:
            items *= self._pick((2, 2, 3, 9, 60))
        else:
            items[at] = self.changed(items[at])
        return items

    # --- the ways ---------------------------------------------------------------------------------------
    def value(self, victim: _Valid) -> bytes:
        """One field has another value."""
        header = victim.header
        if not header:
            return self.field(victim)
        name = self._pick(list(header))
        return _message(victim.code, {**header, name: self.changed(header[name])}, victim.payload)

    def consistent(self, victim: _Valid) -> bytes:
        """A changed value whose payload is changed to fit, or not quite, where there are tensors."""
        rows = victim.header.get("tensors")
        if not rows:
            return self.value(victim)
        changed = [list(row) for row in rows]
        row = changed[self._below(len(changed))]
        place = self._below(6)
        row[place] = self.changed(row[place])
        try:
            size = sum(r[3] + -r[3] % 64 for r in changed[:-1]) + changed[-1][3]
            payload = bytes(max(0, min(size + self._pick((0, 0, 0, 1, -1, 64)), 9_000)))
        except TypeError:
            payload = victim.payload
        return _message(victim.code, {**victim.header, "tensors": changed}, payload)

    def field(self, victim: _Valid) -> bytes:
        """A field is missing, new, renamed, there twice, or named by what is no text."""
        header = dict(victim.header)
        what = self._below(5)
        if what == 0 and header:
            del header[self._pick(list(header))]
        elif what == 1:
            header[self._pick(_TEXTS)] = self.garbage()
        elif what == 2 and header:
            name = self._pick(list(header))
            header[name.upper()] = header.pop(name)
        else:
            parts = [msgpack.packb(k) + msgpack.packb(v) for k, v in header.items()]
            odd = msgpack.packb(self.garbage()) + msgpack.packb(self.garbage())
            parts.append(self._pick(parts) if parts and what == 3 else odd)
            return _wire(victim.code, bytes([0x80 | len(parts)]) + b"".join(parts), victim.payload)
        return _message(victim.code, header, victim.payload)

    def raw(self, victim: _Valid) -> bytes:
        """A field's value, or the whole header, is no msgpack that anybody would write."""
        bad: bytes = self._pick(_RAW)
        if not victim.header or self._below(4) == 0:
            return _wire(victim.code, bad, victim.payload)
        parts = [msgpack.packb(k) + msgpack.packb(v) for k, v in victim.header.items()]
        at = self._below(len(parts))
        parts[at] = msgpack.packb(list(victim.header)[at]) + bad
        return _wire(victim.code, bytes([0x80 | len(parts)]) + b"".join(parts), victim.payload)

    def prefix(self, victim: _Valid) -> bytes:
        """One of the prefix's fields is another."""
        magic, code, flags, header_bytes, payload_bytes = PREFIX.unpack_from(victim.wire)
        what = self._below(10)
        if what == 0:
            magic = self._pick((b"GET ", b"\x16\x03\x01\x02", b"CLV2", b"\x00\x00\x00\x00", b"clv1"))
        elif what == 1:
            code = self._below(256)
        elif what < 5:
            code = self._pick(_EVERY).code
        elif what == 5:
            flags = self._below(256)
        elif what == 6:
            header_bytes = self._pick((0, header_bytes ^ 1, header_bytes + 1, 4_096, 16_384, 16_385, 65_535))
        else:
            payload_bytes = self._pick(
                (0, payload_bytes + 1, payload_bytes ^ 1, 64, 4_096, 2**20, limits.MAX_PAYLOAD_BYTES,
                 limits.MAX_PAYLOAD_BYTES + 1, 2**32, 2**63, 2**64 - 1)
            )  # fmt: skip
        return PREFIX.pack(magic, code, flags, header_bytes, payload_bytes) + victim.wire[PREFIX.size :]

    def payload(self, victim: _Valid) -> bytes:
        """A payload of another length, said truly."""
        payload = bytes(self._pick((0, 1, 63, 64, 65, 300, len(victim.payload) + 1)))
        return _wire(victim.code, msgpack.packb(victim.header), payload)

    def octets(self, victim: _Valid) -> bytes:
        """Some bytes anywhere are others."""
        data = bytearray(victim.wire)
        for _ in range(self._pick((1, 1, 2, 4))):
            data[self._below(len(data))] = self._below(256)
        return bytes(data)

    def spliced(self, victim: _Valid) -> bytes:
        """Bytes are missing, doubled, or another message's."""
        data, below = victim.wire, self._below
        start = below(len(data))
        end = start + below(len(data) - start + 1)
        what = below(3)
        if what == 0:
            return data[:start] + data[end:]
        if what == 1:
            return data[:end] + data[start:]
        other: bytes = self._pick(_EVERY).wire
        return data[:start] + other[below(len(other)) :]

    def cut(self, victim: _Valid) -> bytes:
        """The message ends early; what follows is read as its rest."""
        return victim.wire[: self._below(len(victim.wire))]

    def order(self, victim: _Valid) -> bytes:
        """Whole messages at the wrong time, in the wrong direction, twice, or after the end."""
        others: list[_Valid] = [self._pick(_EVERY) for _ in range(self._pick((1, 1, 2, 3)))]
        return b"".join(message.wire for message in (victim, *others, victim))


def _message(code: int, header: dict[str, Any], payload: bytes) -> bytes:
    try:
        packed: bytes = msgpack.packb(header)
    except (OverflowError, ValueError):  # beyond 64 bits: no msgpack can say it
        packed = b"\x81\xa1x\xcf" + struct.pack(">Q", 2**64 - 1)
    return _wire(code, packed, payload)


Way = Callable[[_Maker, _Valid], bytes]
WAYS: dict[Way, int] = {
    _Maker.value: 7,
    _Maker.consistent: 5,
    _Maker.field: 3,
    _Maker.raw: 2,
    _Maker.prefix: 3,
    _Maker.payload: 1,
    _Maker.octets: 4,
    _Maker.spliced: 2,
    _Maker.cut: 1,
    _Maker.order: 2,
}
"""The ways to damage a message, and how often each is taken."""
_WEIGHTED: Sequence[Way] = [way for way, weight in WAYS.items() for _ in range(weight)]


def mutants(first: int, count: int) -> Iterator[Mutant]:
    """Make the mutants with numbers from `first` on."""
    block, place = divmod(first, BLOCK)
    while count > 0:
        maker = _Maker(block)
        for mutant in islice((maker.mutant() for _ in range(BLOCK)), place, place + count):
            yield mutant
            count -= 1
        block, place = block + 1, 0


def mutant(number: int) -> Mutant:
    """Make one mutant again, by its number."""
    return next(mutants(number, 1))
