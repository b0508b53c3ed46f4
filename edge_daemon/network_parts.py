"""What parts of the network take by a device's profile and by their measured shares of the whole.

Without the pre-processing, which depends on the frames' size; the answer is in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.profile import Profile
from models.model import PREPROCESSING_UNITS

MOST_SAVED = 2.0
"""A part of the network without some units is quicker than the whole by this many times their own times at most."""


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
