"""Facts about JPEGs before they are decoded."""

from __future__ import annotations

import pytest

from common import limits
from models.jpeg import jpeg_scans
from tests.fuzz.bombs import jpeg_of_scans
from tests.tiny_model import jpeg


def test_an_ordinary_jpeg_has_few_scans() -> None:
    """A baseline file has one, a progressive one as many as its encoder makes."""
    assert jpeg_scans(jpeg()) == 1
    assert 2 <= jpeg_scans(jpeg_of_scans(64, 6)) <= limits.MAX_JPEG_SCANS


@pytest.mark.parametrize("scans", [12, 200, 201, 3_000])
def test_scans_are_counted_without_decoding(scans: int) -> None:
    """Each is found, however many there are."""
    assert jpeg_scans(jpeg_of_scans(64, scans)) == scans
