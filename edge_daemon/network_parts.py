"""What parts of the network take by a device's profile and by their measured shares of the whole.

Without the pre-processing, which depends on the frames' size; the answer is in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from common.profile import Profile
from models.model import PREPROCESSING_UNITS

MOST_SAVED = 2.0
"""A part of the network without some units is quicker than the whole by this many times their own times at most."""

MUCH_FASTER = 1.4
"""How many times faster than profiled the network must be found for the profile to be in the wrong. Run again and
again it finds its caches warmer than a frame does: MobileNetV2 is 1.2 times faster then, larger networks hardly."""
FASTEST = 4.0
"""No network is believed to be more times faster than its profile."""


def network_ms(profile: Profile) -> float:
    """Return what the network and the answer take as a whole, in ms."""
    return sum(ms for name, ms in profile.unit_ms.items() if name not in PREPROCESSING_UNITS)


def part_ms(profile: Profile, share: float | None, left_out: Iterable[str]) -> float | None:
    """Return in ms what a part that was measured to take this share of the network takes; none without a share.

    No less than what the units that are `left_out` can leave of the whole: where they are few, their own times tell
    what they save better than the noise of two measurements that hardly differ.
    """
    if share is None:
        return None
    saved_ms = sum(profile.unit_ms[name] for name in left_out if name not in PREPROCESSING_UNITS)
    return max(share * network_ms(profile), network_ms(profile) - MOST_SAVED * saved_ms)


def as_found(profile: Profile, whole_ms: Sequence[float]) -> Profile:
    """Return `profile`, or one with a faster network where that took much less, by the median of `whole_ms`.

    What disturbs a measurement only adds to its times, so of two that differ much the shorter one is right: the
    profile was taken in a slow moment. That the network takes longer now is left to the stages of frames to tell.
    """
    profiled_ms = network_ms(profile)
    if not whole_ms or statistics.median(whole_ms) * MUCH_FASTER >= profiled_ms:
        return profile
    scale = max(statistics.median(whole_ms) / profiled_ms, 1 / FASTEST)
    return replace(
        profile,
        unit_ms={
            name: ms if name in PREPROCESSING_UNITS else ms * scale for name, ms in profile.unit_ms.items()
        },
    )


def much_faster(planned: Profile | None, taken: Profile | None, whole_ms: Sequence[float]) -> Profile | None:
    """Return the profile `taken` as it was found, where its network is much faster than what is planned with."""
    assert planned is not None
    assert taken is not None
    found = as_found(taken, whole_ms)
    return found if network_ms(found) * MUCH_FASTER < network_ms(planned) else None
