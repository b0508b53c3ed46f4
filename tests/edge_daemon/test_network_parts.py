"""Facts about what parts of the network take, by what was measured of them and by what it can be."""

from __future__ import annotations

import pytest

from common.profile import Profile, ProfileKey
from edge_daemon.network_parts import MOST_SAVED, network_ms, part_ms
from models.model import PREPROCESSING_UNITS
from tests.tiny_model import tiny_model

MODEL = tiny_model()
KEY = ProfileKey(MODEL.fingerprint, "a device", "torch", 1, 1.0, "40x30")
PROFILE = Profile(KEY, dict.fromkeys(MODEL.graph.names, 4.0))
NETWORK = [name for name in MODEL.graph.names if name not in PREPROCESSING_UNITS]
WHOLE_MS = 4.0 * len(NETWORK)


def test_the_network_is_all_but_the_pre_processing() -> None:
    """With the answer; a frame's size does not matter to it."""
    assert network_ms(PROFILE) == pytest.approx(WHOLE_MS)


def test_the_last_unit_saves_no_more_than_it_can_take() -> None:
    """A head that is nearly the whole was measured in a quicker moment than that."""
    assert part_ms(PROFILE, 0.5, NETWORK[-1:]) == pytest.approx(WHOLE_MS - MOST_SAVED * 4.0)
    assert part_ms(PROFILE, 0.5, [*PREPROCESSING_UNITS, NETWORK[0]]) == pytest.approx(
        WHOLE_MS - MOST_SAVED * 4.0
    )


@pytest.mark.parametrize(("share", "left_out"), [(1.1, 1), (0.9, 1), (0.1, len(NETWORK) - 1)])
def test_what_can_be_is_as_measured(share: float, left_out: int) -> None:
    """A segment may take longer than the whole; and where much is left out, much is saved."""
    assert part_ms(PROFILE, share, NETWORK[:left_out]) == pytest.approx(share * WHOLE_MS)


def test_what_was_not_measured_stays_unknown() -> None:
    """There is no such part, or it cannot be measured there."""
    assert part_ms(PROFILE, None, NETWORK) is None
