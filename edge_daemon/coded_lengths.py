"""How long codecs make the tensors of the frames that come now, beside those of the one frame that was profiled."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.profile import Profile
from common.wire.codecs import is_image_codec, is_packed
from models.model import PREPROCESSING_UNITS

RECENT = 20
"""Frames whose median length is planned with."""
STALE_S = 300.0
"""What a codec made of frames longer ago says nothing of those that come now: then the profile holds again.
(While the cut comes near, `LengthCheck` looks.)"""
MOST_BY_FILE = 4.0
"""No length is believed to be more times longer or shorter for the size of the frames' files alone."""

Key = tuple[str, str]
"""A unit, and a codec for its tensor."""


@dataclass(slots=True)
class _Lengths:
    """How many times longer than profiled a codec made a unit's tensor lately, and when it last did."""

    ratios: deque[float]
    newest: float


class CodedLengths:
    """What codecs made of frames lately. `now` is of any one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._seen: dict[Key, _Lengths] = {}

    def clear(self) -> None:
        """Forget all: there is another profile."""
        self._seen.clear()

    def saw(self, profile: Profile, unit: str, codec: str, nbytes: int, now: float) -> None:
        """Take note of how long a unit's tensor has become by `codec`."""
        profiled = [c.payload_bytes for c in profile.codings.get(unit, ()) if c.codec == codec]
        if profiled and profiled[0]:
            lengths = self._seen.setdefault((unit, codec), _Lengths(deque(maxlen=RECENT), now))
            if now - lengths.newest > STALE_S:
                lengths.ratios.clear()
            lengths.ratios.append(nbytes / profiled[0])
            lengths.newest = now

    def replace(self, profile: Profile, unit: str, codec: str, nbytes: Sequence[int], now: float) -> None:
        """Know these lengths of a unit's tensor by `codec`, and none from before."""
        self._seen.pop((unit, codec), None)
        for length in nbytes:
            self.saw(profile, unit, codec, length, now)

    def grown(self, profile: Profile, frame_bytes: float | None, now: float) -> dict[Key, float]:
        """Return how many times longer than profiled codecs make tensors now; what is not in it is as profiled.

        Where nothing was seen lately it goes with the size of the frames' files, `frame_bytes` (none where there were
        no frames).
        """
        seen = {
            key: statistics.median(lengths.ratios)
            for key, lengths in self._seen.items()
            if now - lengths.newest <= STALE_S
        }
        return {**by_file_size(profile, frame_bytes), **seen}


def by_file_size(profile: Profile, frame_bytes: float | None) -> Mapping[Key, float]:
    """Return how many times longer than profiled the tensors of frames of this size in bytes can be expected to be.

    What the camera sees makes a pre-processed image long or short, whichever way it is coded, as it does the frame's
    own file. Of 150 frames that differ by 1.6 times in size, lengths are off by 15% in the mean instead of 25%, and
    decoded ones by 5 instead of 14. Tensors of the network depend on it hardly, codecs that pack nothing not at all.
    """
    if not frame_bytes or not profile.frame_bytes:
        return {}
    ratio = min(max(frame_bytes / profile.frame_bytes, 1 / MOST_BY_FILE), MOST_BY_FILE)
    return {
        (unit, coding.codec): ratio
        for unit in PREPROCESSING_UNITS
        for coding in profile.codings.get(unit, ())
        if is_image_codec(coding.codec) or is_packed(coding.codec)
    }
