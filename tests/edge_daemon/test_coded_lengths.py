"""Facts about the lengths that codecs make of frames: as seen, else as the frames' files tell, else as profiled."""

from __future__ import annotations

import pytest

from common.profile import Coding, Profile, ProfileKey
from edge_daemon.coded_lengths import MOST_BY_FILE, RECENT, STALE_S, CodedLengths, by_file_size
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
KEY = ProfileKey(tiny_model().fingerprint, "a device", "torch", 1, 1.0, "40x30")


def coding(codec: str, nbytes: float = 1000.0) -> Coding:
    return Coding(codec, nbytes, 1.0, 1.0)


CODINGS = {
    "resize": (coding("raw"), coding("webp-lossless"), coding("jpeg85")),
    "normalize": (coding("zstd"), coding("f16"), coding("int8"), coding("int8-zstd")),
    "first": (coding("zstd"),),
}
PROFILE = Profile(KEY, dict.fromkeys(GRAPH.names, 4.0), CODINGS, frame_bytes=100_000)
WEBP = ("resize", "webp-lossless")


def test_what_packs_a_preprocessed_image_goes_with_the_size_of_its_file() -> None:
    """Whatever packs; what has the same length always, and what the network has made, does not."""
    packed = {WEBP, ("resize", "jpeg85"), ("normalize", "zstd"), ("normalize", "int8-zstd")}
    assert by_file_size(PROFILE, 150_000.0) == dict.fromkeys(packed, 1.5)


@pytest.mark.parametrize(("frame_bytes", "ratio"), [(1.0, 1 / MOST_BY_FILE), (1e9, MOST_BY_FILE)])
def test_a_file_alone_is_believed_within_bounds(frame_bytes: float, ratio: float) -> None:
    assert by_file_size(PROFILE, frame_bytes)[WEBP] == ratio


def test_without_frames_or_the_profiled_ones_size_lengths_are_as_profiled() -> None:
    """Profiles that were saved before it was noted are of use as they are."""
    assert by_file_size(PROFILE, None) == {}
    assert by_file_size(Profile(KEY, PROFILE.unit_ms, CODINGS), 150_000.0) == {}


def test_what_was_seen_counts_while_it_is_news() -> None:
    """It outweighs the file's size, for its own tensor and codec; after five minutes the file's size counts again."""
    lengths = CodedLengths()
    for number in range(RECENT):
        lengths.saw(PROFILE, *WEBP, 2000, float(number))
    lengths.saw(PROFILE, "resize", "no codec of this profile", 2000, 5.0)
    grown = lengths.grown(PROFILE, 150_000.0, 30.0)
    assert (grown[WEBP], grown["resize", "jpeg85"]) == (2.0, 1.5)
    assert lengths.grown(PROFILE, 150_000.0, RECENT + STALE_S)[WEBP] == 1.5
    lengths.replace(PROFILE, *WEBP, [3000], 40.0)
    assert lengths.grown(PROFILE, 150_000.0, 40.0)[WEBP] == 3.0
    lengths.clear()
    assert lengths.grown(PROFILE, None, 40.0) == {}
