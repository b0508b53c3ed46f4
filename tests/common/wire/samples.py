"""One message of every type, and strategies that make any valid one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from common import limits
from common.graph import DTYPE_BYTES
from common.wire import framing
from common.wire.fields import MAX_COUNT
from common.wire.framing import PREFIX
from common.wire.messages import (
    MESSAGES,
    WITH_PAYLOAD,
    Answer,
    Busy,
    Bye,
    Drain,
    Failed,
    Hello,
    Infer,
    MeasureReply,
    MeasureRequest,
    Message,
    Ping,
    Pong,
    Prepare,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry

DIGEST = "0123456789abcdef" * 4

SAMPLES: Mapping[type[Message], Message] = {
    type(message): message
    for message in (
        Hello(protocol=1, edge="porch", model="tiny", architecture=DIGEST, weights=DIGEST, graph=DIGEST),
        Welcome(session="1", cloud="rack", device="a GPU", credit=4),
        Refused(kind="model", reason="another one"),
        ProfileRequest(),
        ProfileReply(),
        Prepare(epoch=3, units=(2, 3), inputs=(0, 1), outputs=((3, "answer"),)),
        Prepared(epoch=3, ready=True, reason="", prepare_ms=1.5),
        Infer(frame=7, epoch=3, deadline_ms=900.0, tensors=(TensorEntry(1, "uint8", (3,), 3),)),
        Answer(
            frame=7,
            epoch=3,
            receive_ms=1.0,
            spaced_bytes=2,
            queue_ms=0.5,
            tail_ms=4.0,
            cloud_ms=5.0,
            others_ms=0.2,
            batch=2,
            tensors=(TensorEntry(9, "float64", (1, 5, 2), 80),),
        ),
        Busy(frame=7, epoch=3, retry_after_ms=20.0),
        Failed(frame=7, epoch=3, frame_at_fault=False, reason="no memory"),
        ProbeRequest(),
        ProbeGrant(port=5201, seconds=4.0),
        ProbeDenied(reason="another edge is measuring now"),
        Ping(number=1),
        Pong(number=1, receive_ms=0.0, spaced_bytes=0, wait_ms=12.5, in_line_ms=80.0),
        Drain(reason="shutting down"),
        Bye(reason="done"),
        MeasureRequest(number=5, units=(2, 3), inputs=(0, 1), outputs=((3, "answer"),)),
        MeasureReply(number=5, measured=True, reason="", stage_ms=3.5, whole_ms=20.0),
    )
}


def payload_for(message: Message) -> bytes:
    """A payload as long as the message's tensors, where it has any."""
    return bytes(sum(entry.nbytes for entry in getattr(message, "tensors", ())))


def packed(message: Message, payload: bytes = b"") -> bytes:
    """The whole of a message on the wire."""
    return framing.pack(message, len(payload)) + payload


def unpacked(data: bytes) -> Message:
    """Read prefix and header of a message that was packed."""
    prefix = framing.parse_prefix(data[: PREFIX.size], greeting=False)
    return framing.parse_header(prefix, data[PREFIX.size : PREFIX.size + prefix.header_bytes])


counts = st.integers(0, MAX_COUNT)
numbers = st.floats(0, MAX_COUNT, exclude_max=True, allow_nan=False)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def texts(longest: int) -> st.SearchStrategy[str]:
    return st.text(max_size=min(longest, 60)).filter(str.isprintable)


names = texts(limits.MAX_NAME_CHARS)
reasons = texts(limits.MAX_REASON_CHARS)
indices = st.lists(st.integers(0, limits.MAX_UNITS - 1), unique=True, max_size=40).map(tuple)


MOST_ENTRIES = 4
shapes = (
    st.lists(st.integers(0, 9), max_size=limits.MAX_RANK)
    .filter(lambda sides: 8 * math.prod(sides) * MOST_ENTRIES <= limits.MAX_PAYLOAD_BYTES)
    .map(tuple)
)
"""Such that so many tensors, of eight bytes a number, are no more than a message may carry."""


@st.composite
def tensor_entries(draw: st.DrawFn) -> TensorEntry:
    dtype = draw(st.sampled_from(sorted(DTYPE_BYTES)))
    shape = draw(shapes)
    return TensorEntry(
        draw(st.integers(0, limits.MAX_UNITS - 1)),
        dtype,
        shape,
        math.prod(shape) * DTYPE_BYTES[dtype],
        order=draw(st.one_of(st.just(()), st.permutations(range(len(shape))).map(tuple))),
    )


entries = st.lists(tensor_entries(), max_size=MOST_ENTRIES).map(tuple)

stages: Mapping[str, st.SearchStrategy[Any]] = {
    "units": indices,
    "inputs": indices,
    "outputs": indices.flatmap(lambda units: st.tuples(*(st.tuples(st.just(unit), names) for unit in units))),
}
STRATEGIES: Mapping[type[Message], Mapping[str, st.SearchStrategy[Any]]] = {
    Hello: {
        "protocol": counts,
        "edge": names,
        "model": names,
        "architecture": digests,
        "weights": digests,
        "graph": digests,
    },
    Welcome: {"session": names, "cloud": names, "device": names, "credit": st.integers(1, 1024)},
    Refused: {"kind": st.sampled_from(["model", "protocol", "busy"]), "reason": reasons},
    ProfileRequest: {},
    ProfileReply: {},
    Prepare: {"epoch": counts, **stages},
    Prepared: {"epoch": counts, "ready": st.booleans(), "reason": reasons, "prepare_ms": numbers},
    Infer: {"frame": counts, "epoch": counts, "deadline_ms": numbers, "tensors": entries},
    Answer: {
        "frame": counts,
        "epoch": counts,
        "receive_ms": numbers,
        "spaced_bytes": counts,
        "queue_ms": numbers,
        "tail_ms": numbers,
        "cloud_ms": numbers,
        "others_ms": numbers,
        "batch": st.integers(1, MAX_COUNT),
        "tensors": entries,
    },
    Busy: {"frame": counts, "epoch": counts, "retry_after_ms": numbers},
    Failed: {"frame": counts, "epoch": counts, "frame_at_fault": st.booleans(), "reason": reasons},
    ProbeRequest: {},
    ProbeGrant: {"port": st.integers(1, 65535), "seconds": numbers},
    ProbeDenied: {"reason": reasons},
    Ping: {"number": counts},
    Pong: {
        "number": counts,
        "receive_ms": numbers,
        "spaced_bytes": counts,
        "wait_ms": numbers,
        "in_line_ms": numbers,
    },
    Drain: {"reason": reasons},
    Bye: {"reason": reasons},
    MeasureRequest: {"number": counts, **stages},
    MeasureReply: {
        "number": counts,
        "measured": st.booleans(),
        "reason": reasons,
        "stage_ms": numbers,
        "whole_ms": numbers,
    },
}

assert STRATEGIES.keys() == SAMPLES.keys() == set(MESSAGES.values()), "a message type is left out here"


def any_message(*kinds: type[Message]) -> st.SearchStrategy[Message]:
    """Any valid message of one of `kinds`; of any type when none is named."""
    return st.one_of([st.builds(kind, **STRATEGIES[kind]) for kind in (kinds or STRATEGIES)])


def with_payload(message: Message, longest: int = 200) -> st.SearchStrategy[tuple[Message, bytes]]:
    """Put any payload to a message that may have one, of any length."""
    may = type(message) in WITH_PAYLOAD
    return st.tuples(st.just(message), st.binary(max_size=longest) if may else st.just(b""))
