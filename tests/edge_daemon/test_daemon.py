"""Facts about the edge daemon put together, with a cloud in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloud_daemon.access import Access
from common.errors import ConfigurationError, HungError, ModelMismatchError
from common.tls.contexts import cloud_context
from common.tls.identity import Identity
from edge_daemon import daemon as module
from edge_daemon import results_writer
from edge_daemon.config import EdgeSettings
from edge_daemon.frame_counts import FrameCounts, FrameEvent
from models.stages import Stages
from models.watchdog import watch
from tests.certificates import NOW, files
from tests.certificates import rack as rack_files
from tests.cloud_daemon.edge import cloud
from tests.edge_daemon.site import Site, going, hurry_daemon
from tests.event_loop import run, until
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_daemon(monkeypatch)


def test_a_directory_is_drained_without_any_cloud(tmp_path: Path) -> None:
    """Nobody listens where the cloud should be: every file has its answer all the same, and the run ends."""
    site = Site(tmp_path)
    site.put(*range(6))

    async def main() -> None:
        await site.daemon().run()
        site.assert_all_answered(6)
        assert {record["ran"] for record in site.records} == {"edge"}
        assert site.status["frames"]["answered"] == 6
        assert not site.status["link"]["available"]
        assert site.status["link"]["channel"] == "INSECURE: neither encrypted nor authenticated"
        assert site.status["link"]["tls"] is None
        assert "weights" in site.records[0], "random weights are told in every record"

    run(main())


def test_a_restart_does_only_what_has_no_result(tmp_path: Path) -> None:
    """Files that were answered are not done again; frame numbers go on."""
    site = Site(tmp_path)
    site.put(0, 1, 2)

    async def main() -> None:
        await site.daemon(plan="edge-only").run()
        site.put(3, 4)
        await site.daemon(plan="edge-only").run()
        site.assert_all_answered(5)
        assert [record["frame"] for record in site.records] == [0, 1, 2, 3, 4]

    run(main())


def test_a_stop_and_a_restart_lose_and_double_nothing(tmp_path: Path) -> None:
    """A signal in the middle of the directory: what has no record then has one after the next start."""
    site = Site(tmp_path)
    site.put(*range(20))

    async def main() -> None:
        async with going(site.daemon(plan="edge-only", sampling_fps=100)):
            await until(lambda: len(site.records) >= 3)
        assert 3 <= len(site.records) < 20
        await site.daemon(plan="edge-only").run()
        site.assert_all_answered(20)

    run(main())


def test_the_pair_finds_a_plan_and_every_frame_its_answer(tmp_path: Path) -> None:
    """Both profiles come, a plan is decided, the cloud is used or not as that says, and nothing is lost."""
    site = Site(tmp_path)
    site.put(*range(5))

    async def main() -> None:
        async with cloud(tmp_path / "cloud") as rack, going(site.daemon(rack.address, when_drained="wait")):
            await until(lambda: site.status.get("profiled") is True)
            await until(lambda: site.status["plan"]["mode"] == "drain")
            site.put(*range(5, 10))
            await until(lambda: len(site.records) == 10)
        site.assert_all_answered(10)
        assert site.status["link"]["bandwidth_mbit"] == 100.0

    run(main())


def test_a_cloud_that_goes_and_returns_costs_no_frame(tmp_path: Path) -> None:
    """Split by the operator's word; without the cloud the edge finishes; with it, it is used again."""
    site = Site(tmp_path)

    async def main() -> None:
        site.put(0)
        async with contextlib.AsyncExitStack() as stack:
            async with cloud(tmp_path / "cloud") as rack:
                address = rack.address
                settings: dict[str, Any] = {"plan": "after resize", "when_drained": "wait"}
                await stack.enter_async_context(going(site.daemon(address, **settings)))
                await until(lambda: site.status.get("plan", {}).get("cut") == "after resize")
                site.put(1)
                await until(lambda: len(site.records) == 2)
                assert site.records[-1]["ran"] == "split"
            await until(lambda: site.status["plan"]["cut"] == "edge-only")
            site.put(2)
            await until(lambda: len(site.records) == 3)
            assert site.records[-1]["ran"] == "edge"
        site.assert_all_answered(3)

    run(main())


END = b"\xff\xd9"
"""What a file ends with that counts as whole at once, and so is the first one read."""


def torn_png() -> bytes:
    """A PNG whose head is in order and whose middle is missing."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 50).save(buffer, "PNG")
    return buffer.getvalue()[:1000] + buffer.getvalue()[-12:]


@pytest.mark.parametrize("first", [b"no image at all" + END, b"", torn_png()], ids=["text", "empty", "torn"])
def test_a_first_file_that_is_no_image_stops_nothing(tmp_path: Path, first: bytes) -> None:
    """It has its failed record; the profile is taken with another frame, or with a sample."""
    site = Site(tmp_path)
    site.put(1, 2)
    (site.frames / "00.jpg").write_bytes(first)

    async def main() -> None:
        async with cloud(tmp_path / "cloud") as rack, going(site.daemon(rack.address, when_drained="wait")):
            await until(lambda: site.status.get("profiled") is True)
            await until(lambda: len(site.records) == 3)
        records = {record["name"]: record for record in site.records}
        assert records["00.jpg"]["error"]
        assert records["00.jpg"]["top5"] == []
        assert [records[name]["error"] for name in ("01.jpg", "02.jpg")] == [None, None]

    run(main())


def test_results_that_cannot_be_written_hold_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that is full for a while costs time and no frame; the reason is told once, and the end of it."""
    monkeypatch.setattr(results_writer, "RETRY_S", 0.01)
    site = Site(tmp_path)
    site.put(*range(4))

    async def main() -> None:
        daemon = site.daemon(plan="edge-only", in_flight=1)
        target = daemon._results._target
        commit, failures = target.commit, 0

        def full(lines: bytes) -> None:
            nonlocal failures
            if failures < 5:
                failures += 1
                raise OSError(28, "No space left on device")
            commit(lines)

        monkeypatch.setattr(target, "commit", full)
        await daemon.run()
        site.assert_all_answered(4)
        assert failures == 5
        said = capsys.readouterr().out
        assert said.count("results cannot be written") == 1
        assert said.count("results can be written again") == 1

    run(main())


def test_nobody_reading_the_results_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cleave-edge | head` has seen enough: that is no error."""
    site = Site(tmp_path)
    site.put(0)

    async def main() -> None:
        daemon = site.daemon(plan="edge-only", when_drained="wait")

        def broken(lines: bytes) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        monkeypatch.setattr(daemon._results._target, "commit", broken)
        await daemon.run()
        assert daemon.stop.is_set()
        FrameCounts(**site.status["frames"])

    run(main())


def test_a_record_that_is_safe_on_the_way_down_is_answered_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk answers when the run has ended, and the thread that writes is waited for: the counts add up."""
    monkeypatch.setattr(module, "DRAIN_S", 0.0)
    site = Site(tmp_path)
    site.put(0)

    async def main() -> None:
        daemon = site.daemon(plan="edge-only", when_drained="wait")
        target, thread = daemon._results._target, daemon._results._thread
        commit, join, begun, go = target.commit, thread.join, threading.Event(), threading.Event()

        def hang(lines: bytes) -> None:
            begun.set()
            go.wait()
            commit(lines)

        def wait(_: float) -> None:
            go.set()
            join()

        monkeypatch.setattr(target, "commit", hang)
        monkeypatch.setattr(thread, "join", wait)
        async with going(daemon):
            await until(begun.is_set)
        site.assert_all_answered(1)
        counts = FrameCounts(**site.status["frames"])
        assert (counts.answered, counts.left) == (1, 0)

    run(main())


def test_where_the_latest_counts_the_status_adds_up_while_frames_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that come faster than they are worked on: the newest are answered, all others counted as dropped."""
    site = Site(tmp_path)

    async def main() -> None:
        daemon = site.daemon(plan="edge-only", delivery="latest", in_flight=1, when_drained="wait")
        ledger, seen = daemon._ledger, [FrameCounts()]
        note = ledger.note

        def watched(event: FrameEvent, times: int = 1) -> None:
            note(event, times)
            seen.append(ledger.counts)

        monkeypatch.setattr(ledger, "note", watched)
        async with going(daemon):
            for number in range(30):
                site.put(number)
                await asyncio.sleep(0)
            await until(lambda: "29.jpg" in {record["name"] for record in site.records})
            await until(lambda: ledger.counts.recording == 0)
        counts = FrameCounts(**site.status["frames"])
        assert counts.seen == 30
        assert counts.answered == len(site.records) >= 1
        assert counts.dropped_stale == 30 - counts.answered > 0
        assert site.status["results"]["delivery"] == "latest"

    run(main())


def test_a_state_directory_that_cannot_be_written_stops_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither status nor profiles can be kept: every frame has its answer all the same."""
    site = Site(tmp_path)
    site.put(0)
    mkdir = Path.mkdir

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if path == tmp_path / "state":
            raise OSError(30, "Read-only file system")
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)

    async def main() -> None:
        async with (
            cloud(tmp_path / "cloud") as rack,
            going(site.daemon(rack.address, when_drained="wait")) as it,
        ):
            await until(lambda: it._controller.has_profiles)
            site.put(1, 2)
            await until(lambda: len(site.records) == 3)
        site.assert_all_answered(3)
        assert not (tmp_path / "state").exists()

    run(main())


def test_a_status_that_cannot_be_made_stops_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug in what is shown is said once, and ends nothing."""
    site = Site(tmp_path)
    site.put(0)

    def broken() -> dict[str, Any]:
        raise RuntimeError("mutated during iteration")

    async def main() -> None:
        daemon = site.daemon(plan="edge-only", when_drained="wait")
        looks, look = 0, daemon._rate.look

        def counted(*what: Any) -> None:
            nonlocal looks
            looks += 1
            look(*what)

        monkeypatch.setattr(daemon._rate, "look", counted)
        monkeypatch.setattr(daemon.view, "status", broken)
        async with going(daemon):
            await until(lambda: looks >= 2)
            site.put(1)
            await until(lambda: len(site.records) == 2)
        site.assert_all_answered(2)

    run(main())
    assert capsys.readouterr().out.count("no status: a bug") == 1


def test_another_model_in_the_cloud_ends_the_edge(tmp_path: Path) -> None:
    """Both hold the wrong thing until the operator mends it: no answers are made with half of each."""
    site = Site(tmp_path)

    async def main() -> None:
        async with cloud(tmp_path / "cloud") as rack:
            daemon = site.daemon(rack.address, seed=1, when_drained="wait")
            with pytest.raises(ExceptionGroup) as group:
                await daemon.run()
            assert group.group_contains(ModelMismatchError, match="weights differ")

    run(main())


def test_what_only_the_operator_can_mend_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    """A mistyped directory should not take seconds to be told."""
    environ = {"CLEAVE_MODEL": "no.such:model", "CLEAVE_EDGE_SOURCE": str(tmp_path / "nothing")}

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="CLEAVE_EDGE_SOURCE"):
            await module.run(EdgeSettings.load(environ))

    run(main())


def test_frames_go_through_tls_under_the_certificates_name(tmp_path: Path) -> None:
    """Edge and cloud with certificates of one authority: the cloud answers, and the status says as whom."""
    site = Site(tmp_path)
    tls = files(tmp_path / "edge-tls", "porch").directory
    access = Access(Identity(rack_files(tmp_path / "rack-tls"), cloud_context))

    async def main() -> None:
        async with cloud(tmp_path / "rack", access=access) as rack:
            daemon = site.daemon(rack.address, plan="cloud-only", tls=tls, when_drained="wait")
            async with going(daemon):
                await until(lambda: site.status.get("plan", {}).get("cut") == "cloud-only")
                (session,) = rack.server.sessions
                assert session.edge == "porch"
                site.put(*range(4))
                await until(lambda: len(site.records) == 4)
            site.assert_all_answered(4)
            assert {record["ran"] for record in site.records} == {"cloud"}
            told = site.status["link"]["tls"]
            assert (told["as"], told["certificate"], told["issuer"]) == ("porch", "valid", "our house")
            assert told["days_left"] > 89
            assert site.status["link"]["channel"] == "TLS 1.3 as porch"

    run(main())


def test_an_edge_that_is_not_let_in_serves_alone(tmp_path: Path) -> None:
    """Its certificate has ended: every file is answered all the same, and status and log say why."""
    site = Site(tmp_path)
    site.put(*range(4))
    long_ago = NOW - datetime.timedelta(days=100)
    tls = files(tmp_path / "edge-tls", "porch", days=10, issued=long_ago).directory
    access = Access(Identity(rack_files(tmp_path / "rack-tls"), cloud_context))

    async def main() -> None:
        async with cloud(tmp_path / "rack", access=access) as rack:
            daemon = site.daemon(rack.address, tls=tls, when_drained="wait")
            async with going(daemon):
                await until(lambda: daemon._uplink.last_error is not None and len(site.records) == 4)
                assert not rack.server.sessions
            site.assert_all_answered(4)
            assert {record["ran"] for record in site.records} == {"edge"}
            assert site.status["link"]["tls"]["certificate"] == "expired"
            assert "this edge's certificate has ended 90 days ago" in site.status["link"]["last_error"]

    run(main())


def test_a_stage_that_never_is_made_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made beside frames, which go on; but no plan would ever follow, and nobody would be told."""
    site, end = Site(tmp_path), threading.Event()
    monkeypatch.setattr(Stages, "_made", lambda *_: end.wait(20.0))
    monkeypatch.setattr(module, "watch", lambda thread, _: watch(thread, 0.2, look_s=0.02))

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as raised:
            await site.daemon().run()
        assert raised.group_contains(HungError)
        end.set()

    run(main())
