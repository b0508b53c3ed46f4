"""Facts about the edge daemon on a video: one record for each frame, whatever ends the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigurationError
from edge_daemon.frame_counts import FrameCounts
from tests.edge_daemon.site import Site, going
from tests.edge_daemon.videos import make_video
from tests.event_loop import run, until


def test_a_video_has_one_record_for_each_frame_also_after_a_stop(tmp_path: Path) -> None:
    """The second run goes on where the first one was stopped; the third has nothing to do."""
    site = Site(tmp_path)
    video = make_video(tmp_path / "clip.mp4", 25)

    async def main() -> None:
        async with going(site.daemon(source=video, plan="edge-only", sampling_fps=0)):
            await until(lambda: len(site.records) >= 5)
        first = len(site.records)
        await site.daemon(source=video, plan="edge-only").run()
        await site.daemon(source=video, plan="edge-only").run()
        assert [record["name"] for record in site.records[first:]] == [
            f"clip.mp4#{i}" for i in range(first, 25)
        ]
        assert sorted(record["file"]["index"] for record in site.records) == list(range(25))
        assert [record["frame"] for record in site.records] == list(range(25))
        assert {record["error"] for record in site.records} == {None}
        assert site.status["source"]["kind"] == "video"
        assert site.status["results"]["delivery"] == "every"
        FrameCounts(**site.status["frames"])

    run(main())


def test_a_file_that_is_no_video_ends_the_daemon(tmp_path: Path) -> None:
    """With the operator's error, which is status 78."""
    site = Site(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"no video")

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as error:
            await site.daemon(source=tmp_path / "clip.mp4", plan="edge-only").run()
        assert error.group_contains(ConfigurationError, match="no video that can be read")

    run(main())
