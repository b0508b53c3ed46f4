"""Facts about peers that stop reading: they cost no more memory than is stated, and the verdict can be a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.limits import MAX_UNSENT_BYTES, MIB
from tests.chaos.deaf_cloud import DeafFinding
from tests.chaos.reader_verdict import ROOM_BYTES, Turn, ceiling_bytes, compare, table
from tests.chaos.run_short import run_short


@pytest.mark.timeout(200)
def test_peers_that_stop_reading_for_a_moment_cost_little_memory(tmp_path: Path) -> None:
    """An edge with large answers and a cloud that goes deaf; how long the others' frames take is not judged here."""
    done = run_short(
        "slow_reader", "--seconds", "2", "--no-timing", "--connections", "3", "--out", str(tmp_path),
        "--ways", "reads nothing of large answers", "a deaf cloud",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "frames have their record" in (tmp_path / "slow_reader.md").read_text()


def turns(growth_bytes: int, slower: float) -> list[Turn]:
    latencies = tuple(float(ms) for ms in range(1, 101))
    return [
        Turn(
            reading=reading,
            latencies_ms=tuple(ms * times for ms in latencies),
            rss_before_bytes=300 * MIB,
            rss_peak_bytes=300 * MIB + growth,
        )
        for reading, growth, times in (
            ("all", 500 * MIB, 1.0),
            ("nothing", growth_bytes, slower),
            ("all", 0, 1.0),
        )
    ]


def test_memory_is_compared_with_the_ceiling_and_its_room() -> None:
    """What grows while all is read is not the reader's fault."""
    ceiling = 10 * MIB
    assert compare("x", turns(ceiling + ROOM_BYTES, 1.0), ceiling).missed() == []
    (said,) = compare("x", turns(ceiling + ROOM_BYTES + 1, 1.0), ceiling).missed()
    assert "memory grew by 26.0 MiB, the ceiling is 10.0 MiB" in said


def test_the_others_may_be_slower_by_a_fifth() -> None:
    assert compare("x", turns(0, 1.19), 0).missed() == []
    (said,) = compare("x", turns(0, 1.25), 0).missed()
    assert "p99 changed by +25%" in said


def test_the_ceiling_is_that_of_each_connection() -> None:
    assert ceiling_bytes(1, 0, 0) == MAX_UNSENT_BYTES
    assert ceiling_bytes(8, 1000, 10) == 8 * ceiling_bytes(1, 1000, 10)
    assert table([compare("x", turns(0, 1.0), 0)]).count("\n") == 2


def test_a_deaf_cloud_must_cost_no_frame_and_little_memory() -> None:
    def found(growth_bytes: int = 0, recorded: int = 10, doubled: int = 0) -> list[str]:
        return DeafFinding(
            growth_bytes=growth_bytes,
            ceiling_bytes=MIB,
            offered=10,
            recorded=recorded,
            doubled=doubled,
            slowest_gap_s=1.0,
            seconds=2.0,
        ).missed()

    assert found() == []
    assert "grew by 18.0 MiB" in found(growth_bytes=18 * MIB)[0]
    assert "9 of 10 frames recorded" in found(recorded=9)[0]
    assert "1 twice" in found(doubled=1)[0]
