"""Attacks by a cloud: what it says, or sends as garbage, costs an edge its help and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common import limits
from common.config import Address
from common.errors import LinkLostError
from common.plan import Mode
from common.profile import Profile
from common.wire.messages import (
    Answer,
    Busy,
    Failed,
    Infer,
    MeasureReply,
    Ping,
    Prepared,
    ProbeDenied,
    ProbeGrant,
    ProbeRequest,
    ProfileReply,
    ProfileRequest,
    Welcome,
)
from edge_daemon import prober, profiling
from edge_daemon.daemon import EdgeDaemon
from edge_daemon.line import Line as UplinkLine
from tests.common.wire.samples import SAMPLES, packed
from tests.edge_daemon.bench import bench
from tests.edge_daemon.fake_cloud import FakeCloud, FakeSession, answer_to, connected, hurry, infer, of
from tests.edge_daemon.pipeline_line import CLOUD_ONLY, SPLIT, Line, assert_right, frames
from tests.edge_daemon.site import Site
from tests.edge_daemon.test_profiling import GRAPH, KEY
from tests.event_loop import run, until
from tests.fuzz.write_corpus import CORPUS


# --- answers --------------------------------------------------------------------------------------------
def test_an_answer_for_a_frame_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, Busy and Failed for frames and epochs that the edge never sent.

    Answer: counted as stale and dropped; the frame that is waited for has its own answer.
    """
    hurry(monkeypatch)

    async def main() -> None:
        async with connected() as (cloud, uplink, _):

            def lie(session: FakeSession, event: Any) -> None:
                asked = of(event)
                for other in (0, 2, 2**53):
                    session.channel.send(answer_to(of(event), epoch=other))
                session.channel.send(Busy(frame=99, epoch=1, retry_after_ms=0))
                session.channel.send(Failed(frame=99, epoch=1, frame_at_fault=True, reason="a lie"))
                session.channel.send(Prepared(epoch=77, ready=True, reason="", prepare_ms=0))
                session.channel.send(MeasureReply(number=9, measured=True, reason="", stage_ms=0, whole_ms=0))
                session.channel.send(ProfileReply(), [b"{}"])
                session.channel.send(ProbeDenied(reason="nobody asked"))
                session.channel.send(answer_to(asked))

            cloud.on[Infer] = lie
            reply = await infer(uplink, frame=1)
            assert (reply.answer.frame, reply.answer.epoch) == (1, 1)
            assert uplink.counts.stale_answers == 5
            assert uplink.available

    run(main())


def test_an_answer_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame is answered three times.

    Answer: the first counts; the others are stale, also when the next frame is waited for by then.
    """
    hurry(monkeypatch)

    async def main() -> None:
        async with connected() as (cloud, uplink, _):

            def twice(session: FakeSession, event: Any) -> None:
                for _ in range(3):
                    session.channel.send(answer_to(of(event)))

            cloud.on[Infer] = twice
            for frame in range(5):
                assert (await infer(uplink, frame=frame)).answer.frame == frame
            await until(lambda: uplink.counts.stale_answers == 10)

    run(main())


def lies(**columns: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def lie(answer: torch.Tensor) -> torch.Tensor:
        answer = answer.clone()
        for column, value in columns.items():
            answer[0, 0, ("index", "probability").index(column)] = value
        return answer

    return lie


LIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "probability NaN": lies(probability=math.nan),
    "probability inf": lies(probability=math.inf),
    "probability -1": lies(probability=-1.0),
    "probability 1e300": lies(probability=1e300),
    "class NaN": lies(index=math.nan),
    "class -1": lies(index=-1),
    "class 1e300": lies(index=1e300),
    "class 0.5": lies(index=0.5),
    "a thousand classes": lambda answer: answer.repeat(1, 200, 1),
    "no class": lambda answer: answer[:, :0],
    "two frames": lambda answer: answer.repeat(2, 1, 1),
    "another type": lambda answer: answer.to(torch.float32),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("cut", [CLOUD_ONLY, SPLIT], ids=lambda cut: cut.label)
def test_an_answer_that_is_none(cut: Any, name: str) -> None:
    """Answers of NaN, infinite, negative and huge classes and probabilities, of other shapes and types.

    Answer: the frame is finished on the edge, with the right answer; its record is valid JSON and says why.
    """

    async def main() -> None:
        with bench() as tiny:

            async def answer(frame: int, epoch: int, entries: Any, payload: bytes) -> Any:
                return tiny.reply(frame, epoch, LIES[name](tiny.tail(cut, entries, payload)))

            line = Line(tiny, await tiny.plan(cut), answer)
            for record in await line.give(frames(2)):
                assert_right(record)
                assert record.ran == "edge after cloud"
                assert record.fallback is not None
                assert record.fallback.isprintable()
                json.loads(record.to_json(), parse_constant=pytest.fail)  # called for NaN and Infinity

    run(main())


def test_durations_beyond_belief() -> None:
    """A right answer with times of zero, of 285,000 years, and with more bytes than were sent.

    Answer: the answer counts; durations are the edge's own where the cloud's cannot be; nothing is divided by zero.
    """

    async def main() -> None:
        with bench() as tiny:
            for ms in (0.0, 5e-324, 2.0**53 - 1):

                async def answer(frame: int, epoch: int, entries: Any, payload: bytes, ms: float = ms) -> Any:
                    reply = tiny.reply(frame, epoch, tiny.tail(SPLIT, entries, payload))
                    said = {**reply.answer.header(), "tensors": reply.answer.tensors}
                    times = ("receive_ms", "queue_ms", "tail_ms", "cloud_ms", "others_ms")
                    lied = Answer(**(said | dict.fromkeys(times, ms) | {"spaced_bytes": 2**53}))
                    return type(reply)(lied, reply.payload, reply.round_trip_ms)

                line = Line(tiny, await tiny.plan(SPLIT), answer)
                for record in await line.give(frames(2)):
                    assert_right(record)
                    assert record.durations.link_ms is not None
                    assert 0 <= record.durations.link_ms < 1e6
                    json.loads(record.to_json(), parse_constant=pytest.fail)

    run(main())


# --- a whole edge daemon --------------------------------------------------------------------------------
@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure(host: str, port: int) -> float:
        return 1e8

    hurry(monkeypatch)
    monkeypatch.setattr(prober, "measure_bandwidth", measure)
    monkeypatch.setattr(profiling, "RETRY_S", 0.02)


class Garbage:
    """Listens as a cloud would, and says one of `streams` to each connection after the other."""

    def __init__(self, streams: list[bytes]) -> None:
        self._streams = streams
        self.served = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(self._streams[self.served % len(self._streams)])
            self.served += 1
            while await reader.read(65_536):  # until the edge has had enough
                pass
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        server.close()


def garbage() -> list[bytes]:
    """What no cloud says: foreign protocols, messages before and after a Welcome, every abuse kept for an edge."""
    welcome = packed(SAMPLES[Welcome])
    found = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(4_096), b"\xff" * 4_096]
    found += [
        packed(SAMPLES[Answer], bytes(80)),
        welcome * 2,
        welcome + b"garbage" * 9,
        packed(SAMPLES[Ping]),
    ]
    for path in sorted(CORPUS.glob("edge-*.stream")):
        found.append((b"" if "greeting" in path.stem else welcome) + path.read_bytes())
    return found


@pytest.mark.usefixtures("hurried")
def test_a_cloud_that_sends_garbage(tmp_path: Path) -> None:
    """Every connection is answered by other garbage, before and after a Welcome.

    Answer: the edge closes each, tries again with back-off, and meanwhile answers every frame by itself.
    """
    site = Site(tmp_path)
    site.put(*range(8))

    async def main() -> None:
        cloud = Garbage(garbage())
        async with cloud.listening() as address:
            daemon = site.daemon(address, when_drained="wait")
            going = asyncio.create_task(daemon.run())
            await until(lambda: cloud.served > len(garbage()) or going.done())
            await until(lambda: len(site.records) == 8 or going.done())
            daemon.stop.set()
            await going
        site.assert_all_answered(8)
        assert {record["ran"] for record in site.records} <= {"edge", "edge after cloud"}

    run(main())


def absurd(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A profile of the tiny model with one thing absurd."""
    document = json.loads(Profile(KEY, dict.fromkeys(GRAPH.names, 0.01)).to_json())
    change(document)
    return json.dumps(document).encode()


PROFILES = {
    "no JSON": b"\x00\xff",
    "nested": b"[" * 100_000,
    "a number": b"7",
    "NaN": absurd(lambda d: d["unit_ms"].update(decode=math.nan)),
    "infinite": absurd(lambda d: d["unit_ms"].update(decode=math.inf)),
    "1e300 ms": absurd(lambda d: d["unit_ms"].update(dict.fromkeys(d["unit_ms"], 1e300))),
    "negative": absurd(lambda d: d["unit_ms"].update(decode=-1)),
    "5e-324 ms": absurd(lambda d: d["unit_ms"].update(dict.fromkeys(d["unit_ms"], 5e-324))),
    "unknown units": absurd(lambda d: d["unit_ms"].update({"../../x\n": 1.0})),
    "another model": absurd(lambda d: d["key"]["fingerprint"].update(graph="x")),
    "unknown codecs": absurd(lambda d: d["codings"].update(decode={"../x\n": [1, 1, 1], "raw": [0, 0, 0]})),
    "codings of unknown units": absurd(lambda d: d["codings"].update(x={"zstd": [1, 1, 1]})),
    "codings of no size": absurd(lambda d: d["codings"].update(first={"zstd": [0, 0, 0]})),
    "a device that is a map": absurd(lambda d: d["key"].update(device={"a": [1]})),
}


BELIEVED = {
    "1e300 ms", "5e-324 ms", "unknown codecs", "codings of unknown units", "codings of no size",
    "a device that is a map",
}  # fmt: skip
"""Profiles that are of this model, whatever else they say."""


class LyingDaemonCloud(FakeCloud):
    """Says it is ready for anything, and answers requests for its profile with `profile`."""

    def __init__(self, profile: bytes) -> None:
        super().__init__()
        self.asked = 0
        self._profile = profile
        self.on[ProfileRequest] = self._lie
        self.on[ProbeRequest] = lambda session, _: session.channel.send(ProbeGrant(port=1, seconds=1.0))
        self.on[Infer] = lambda session, event: session.channel.send(answer_to(of(event)))

    def _lie(self, session: FakeSession, event: Any) -> None:
        self.asked += 1
        session.channel.send(ProfileReply(), [self._profile])


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", PROFILES)
def test_an_absurd_profile(tmp_path: Path, name: str) -> None:
    """A profile that is no JSON, or of NaN, infinite, vanishing or 10³⁰⁰ ms, unknown units and codecs.

    Answer: what is no profile of this model is refused and asked for again later; what is one, however good, is
    planned with, and frames that the cloud then lets down are finished on the edge. Every frame is answered.
    """
    site = Site(tmp_path)
    site.put(*range(4))

    async def main() -> None:
        cloud = LyingDaemonCloud(PROFILES[name])
        await cloud.start()
        daemon: EdgeDaemon = site.daemon(cloud.address, when_drained="wait")
        going = asyncio.create_task(daemon.run())
        await until(lambda: (cloud.asked >= 1 and len(site.records) >= 4) or going.done())
        if name in BELIEVED:
            await until(lambda: planned_with(daemon) or going.done())
        assert not going.done()
        site.put(4, 5)
        await until(lambda: len(site.records) >= 6 or going.done())
        daemon.stop.set()
        await going
        await cloud.stop()
        site.assert_all_answered(6)

    run(main())


def planned_with(daemon: EdgeDaemon) -> bool:
    """Whether the daemon has planned with both profiles."""
    return daemon._controller.active.plan.mode is not Mode.STARTING


def test_a_profile_longer_than_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB of `[],[],…` as a profile would take more than a GB once it is read.

    Answer: 4 MiB are allowed: the prefix is refused, nothing of it is read, and the edge connects anew.
    """
    hurry(monkeypatch)

    async def main() -> None:
        async with connected() as (cloud, uplink, _):

            def lie(session: FakeSession, _: Any) -> None:
                transport = session.channel._transport
                assert transport is not None
                transport.write((CORPUS / "edge-open-a-profile-of-64-MiB.stream").read_bytes())

            cloud.on[ProfileRequest] = lie
            with pytest.raises(LinkLostError, match=f"{limits.MAX_PROFILE_BYTES} are allowed"):
                await uplink.profile(b"frame")

    run(main())


def test_pings_of_a_cloud_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud that asks without end and reads no answers, to fill the edge's memory with them.

    Answer: while the line has no room the edge does not answer pings; what is unsent stays below a frame.
    """
    hurry(monkeypatch)

    async def main() -> None:
        async with connected() as (cloud, uplink, _):
            assert uplink._line is not None
            channel = uplink._line.channel
            transport = cloud.session.channel._transport
            assert transport is not None
            transport.pause_reading()
            pings = packed(SAMPLES[Ping]) * 1_000
            heard = 0

            def count(original: Callable[[UplinkLine, Any], None]) -> Callable[[UplinkLine, Any], None]:
                def counted(line: UplinkLine, event: Any) -> None:
                    nonlocal heard
                    heard += 1
                    original(line, event)

                return counted

            monkeypatch.setattr(UplinkLine, "heard", count(UplinkLine.heard))
            while channel.is_writable:
                transport.write(pings)
                await asyncio.sleep(0)
            full, before = channel.unsent_bytes, heard
            for _ in range(50):
                transport.write(pings)
                await asyncio.sleep(0)
            await until(lambda: heard >= before + 20_000)
            assert channel.unsent_bytes <= full + limits.MAX_UNSENT_BYTES // 4

    run(main())
