"""Facts about what the daemon and a capturing process say to each other."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import limits
from common.errors import SourceError
from edge_daemon.capture_job import (
    LENGTH,
    MAGIC,
    PREFIX,
    CaptureJob,
    Ended,
    Message,
    Shot,
    Told,
    pack,
    ranges_of,
    read_head,
    read_prefix,
)
from edge_daemon.picture_edit import Crop, PictureEdit
from edge_daemon.source_address import Credentials, SourceAddress, SourceKind

SHOT = Shot(index=7, captured_at=12.5, captured_ns=1_700_000_000_000_000_000, position_s=0.25)


@pytest.mark.parametrize(
    "job",
    [
        CaptureJob(kind=SourceKind.PATH, target="/a.mp4"),
        CaptureJob(
            kind=SourceKind.RTSP,
            target="rtsp://u:p@h/x",
            options=(("size", "1x2"),),
            host=("h", 554),
            edit=PictureEdit(90, Crop(1, 2, 3, 4)),
            every=True,
            paced=True,
            max_age_s=0.5,
            skip=((0, 4), (6, 6)),
            thin_to_fps=2.5,
        ),
    ],
)
def test_a_job_is_read_as_it_was_written(job: CaptureJob) -> None:
    """With its length before it."""
    data = job.to_bytes()
    assert LENGTH.unpack(data[: LENGTH.size]) == (len(data) - LENGTH.size,)
    assert CaptureJob.from_json(data[LENGTH.size :]) == job


def test_a_job_has_the_whole_url() -> None:
    """Secrets are for the process that opens it, and for nobody else."""
    address = SourceAddress.parse("rtsp://u:p@cam/live")
    assert isinstance(address, SourceAddress)
    job = CaptureJob.of(address, Credentials("me", "x"), PictureEdit(), max_age_s=1.0)
    assert (job.target, job.host, job.max_age_s) == ("rtsp://me:x@cam/live", ("cam", 554), 1.0)


@pytest.mark.parametrize(
    "message",
    [SHOT, Told(10, 3), Told(10, 3, resting=True), Ended("why", finished=True), Ended("no", unusable=True)],
)
def test_messages_are_read_as_they_were_written(message: Message) -> None:
    """The prefix tells how long head and payload are."""
    data = pack(message, b"12345")
    head_bytes, payload_bytes = read_prefix(data[: PREFIX.size])
    assert (head_bytes, payload_bytes) == (len(data) - PREFIX.size, 5)
    assert read_head(data[PREFIX.size :]) == message


def test_an_error_of_any_length_fits_into_a_head() -> None:
    """Also one of characters that JSON escapes."""
    longest = Ended("\0" * limits.MAX_REASON_CHARS)
    read_prefix(pack(longest)[: PREFIX.size])


@pytest.mark.parametrize(
    "prefix",
    [
        b"NONE" + bytes(8),
        PREFIX.pack(MAGIC, 0, 0),
        PREFIX.pack(MAGIC, limits.MAX_CAPTURE_HEAD_BYTES + 1, 0),
        PREFIX.pack(MAGIC, 10, limits.MAX_FRAME_BYTES + 1),
    ],
)
def test_a_prefix_that_is_none_or_announces_too_much_is_refused(prefix: bytes) -> None:
    """Before anything is allocated."""
    with pytest.raises(SourceError):
        read_prefix(prefix)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"is": "other"}',
        b'{"is": "told"}',
        b'{"is": "told", "captured": -1, "passed_over": 0}',
        b'{"is": "told", "captured": 1.5, "passed_over": 0}',
        b'{"is": "told", "captured": "1", "passed_over": 0}',
        b'{"is": "told", "captured": true, "passed_over": 0}',
        b'{"is": "told", "captured": 1, "passed_over": 0, "more": 1}',
        b'{"is": "ended", "reason": 7}',
        b'{"is": ["told"]}',
        b"[" * 4000,
    ],
)
def test_a_head_that_is_no_message_is_refused(head: bytes) -> None:
    """The process may be out of its mind: a decoder reads what strangers send."""
    with pytest.raises(SourceError, match="garbage"):
        read_head(head)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "1e999", "1" + "0" * 400, "null"])
def test_times_that_are_none_are_refused(value: str) -> None:
    """No frame is captured at infinity."""
    told = json.loads(pack(SHOT)[PREFIX.size :])
    text = json.dumps({**told, "captured_at": "HERE"}).replace('"HERE"', value)
    with pytest.raises(SourceError, match="garbage"):
        read_head(text.encode())


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_the_indices(indices: set[int]) -> None:
    """In order, and none touches the next."""
    ranges = ranges_of(indices)
    assert {i for first, last in ranges for i in range(first, last + 1)} == indices
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(ranges))
