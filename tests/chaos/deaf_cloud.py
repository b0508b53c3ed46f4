"""A cloud that stops reading while a real edge sends: the edge's memory is bounded, and its frames go on.

Old connections it goes on pinging, so that it is never silent; on new ones it reads nothing from the beginning.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.json_lines import JsonLines
from benchmarks.pair import free_port
from common import limits
from common.errors import LinkError
from common.wire.connection import Received, Role
from common.wire.messages import Failed, Hello, Infer, Ping, Pong, Prepare, Prepared, Welcome
from common.wire.transport import Channel
from edge_daemon.frame import QUEUE_FRAMES
from edge_daemon.line import MOST_UNSENT_BYTES
from tests.chaos.forked import ForkedDaemon
from tests.chaos.process_figures import rss_bytes
from tests.chaos.reader_verdict import ROOM_BYTES
from tests.chaos.tiny_pair import EDGE

FRAMES_EACH_S = 20.0
PICTURE = (640, 480)
PING_S = 0.5
WARM_S = 4.0
"""At most; as long as it is deaf, if that is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeafFinding:
    """What a cloud that stops reading cost an edge."""

    growth_bytes: int
    ceiling_bytes: int
    offered: int
    recorded: int
    doubled: int
    slowest_gap_s: float
    seconds: float

    def missed(self) -> list[str]:
        """Return what is missed, in words."""
        found = []
        if self.growth_bytes > self.ceiling_bytes + ROOM_BYTES:
            found.append(f"a deaf cloud: the edge's memory grew by {self.growth_bytes / limits.MIB:.1f} MiB")
        if self.recorded != self.offered or self.doubled:
            found.append(
                f"a deaf cloud: {self.recorded} of {self.offered} frames recorded, {self.doubled} twice"
            )
        return found

    def line(self) -> str:
        """Say it in a sentence."""
        return (
            f"A cloud that reads nothing for {self.seconds:g} s: the edge's memory grew by "
            f"{self.growth_bytes / limits.MIB:.1f} MiB (ceiling {self.ceiling_bytes / limits.MIB:.1f} MiB); all "
            f"{self.recorded} of {self.offered} frames have their record, at most {self.slowest_gap_s:.1f} s "
            "between two."
        )


class DeafCloud:
    """Greets, prepares, fails every frame at once; `deaf`: reads nothing, and asks for pongs."""

    def __init__(self) -> None:
        self.deaf = False
        self.sessions: set[_Session] = set()

    async def ping(self) -> None:
        """Ping all edges, until cancelled."""
        number = 0
        while True:
            number += 1
            for session in self.sessions:
                if self.deaf and session.channel.is_open:
                    session.channel.send(Ping(number=number))
            await asyncio.sleep(PING_S)

    def stop_reading(self) -> None:
        self.deaf = True
        for session in self.sessions:
            session.channel.stop_reading()

    def read_again(self) -> None:
        self.deaf = False
        for session in self.sessions:
            session.channel.abort()


class _Pausable(Channel):
    """A channel that can be told to read no more."""

    def __init__(self, session: _Session) -> None:
        super().__init__(Role.CLOUD, session)
        self._session = session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._session.cloud.deaf:
            self.stop_reading()

    def stop_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()


class _Session:
    def __init__(self, cloud: DeafCloud) -> None:
        self.cloud = cloud
        self.channel = _Pausable(self)
        cloud.sessions.add(self)

    def heard(self, event: Received) -> None:
        match event.message:
            case Hello():
                self.channel.send(Welcome(session="1", cloud="deaf", device="none", credit=4))
            case Prepare(epoch=epoch):
                self.channel.send(Prepared(epoch=epoch, ready=True, reason="", prepare_ms=1.0))
            case Ping(number=number):
                self.channel.send(Pong(number=number, receive_ms=1.0, spaced_bytes=0))
            case Infer(frame=frame, epoch=epoch):
                self.channel.send(
                    Failed(frame=frame, epoch=epoch, frame_at_fault=False, reason="no model here")
                )
            case _:
                pass

    def closed(self, error: LinkError | None) -> None:
        self.cloud.sessions.discard(self)


def try_a_deaf_cloud(root: Path, seconds: float) -> DeafFinding:
    """Run an edge with such a cloud. For a process that has computed nothing with torch."""
    port, inbox = free_port(), root / "inbox"
    inbox.mkdir()
    environment = {
        **EDGE,
        "CLEAVE_EDGE_SOURCE": str(inbox),
        "CLEAVE_EDGE_RESULTS": str(root / "edge.jsonl"),
        "CLEAVE_EDGE_STATE_DIR": str(root / "edge-state"),
        "CLEAVE_EDGE_CLOUD": f"127.0.0.1:{port}",
        "CLEAVE_EDGE_PLAN": "cloud-only",
    }
    edge = ForkedDaemon("edge", environment, root / "edge.log")
    try:
        return asyncio.run(_run(edge, port, inbox, JsonLines(root / "edge.jsonl"), seconds))
    finally:
        edge.kill()


async def _run(edge: ForkedDaemon, port: int, inbox: Path, results: JsonLines, seconds: float) -> DeafFinding:
    cloud = DeafCloud()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Session(cloud).channel, "127.0.0.1", port
    )
    picture = io.BytesIO()
    Image.effect_noise(PICTURE, 60).convert("RGB").save(picture, "JPEG", quality=90)
    feeder = Feeder(inbox, picture.getvalue(), results)
    pings = asyncio.create_task(cloud.ping())
    await feeder.feed(min(WARM_S, seconds))
    before = peak = rss_bytes(edge.pid)
    cloud.stop_reading()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await feeder.feed(0.2)
        peak = max(peak, rss_bytes(edge.pid))
    cloud.read_again()
    await feeder.drained(30.0)
    os.kill(edge.pid, signal.SIGINT)
    await asyncio.to_thread(edge.wait, 15.0)
    pings.cancel()
    server.close()
    names = [record["name"] for record in results.read()]
    frame_bytes = len(picture.getvalue())
    return DeafFinding(
        growth_bytes=peak - before,
        ceiling_bytes=MOST_UNSENT_BYTES + (QUEUE_FRAMES + 2 * limits.MAX_IN_FLIGHT) * frame_bytes,
        offered=feeder.offered,
        recorded=len(set(names)),
        doubled=len(names) - len(set(names)),
        slowest_gap_s=feeder.slowest_gap_s,
        seconds=seconds,
    )


class Feeder:
    """Puts pictures into an inbox at a steady rate; sees how long no record comes while some are waited for."""

    def __init__(self, inbox: Path, picture: bytes, results: JsonLines) -> None:
        self.offered = 0
        self.slowest_gap_s = 0.0
        self._inbox, self._picture, self._results = inbox, picture, results
        self._recorded, self._since = 0, time.monotonic()

    async def feed(self, seconds: float) -> None:
        """Offer frames for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            scratch = self._inbox / ".next"
            scratch.write_bytes(self._picture)
            scratch.rename(self._inbox / f"{self.offered:06d}.jpg")
            self.offered += 1
            self._look()
            await asyncio.sleep(1.0 / FRAMES_EACH_S)

    async def drained(self, timeout_s: float) -> None:
        """Wait until all have their record."""
        end = time.monotonic() + timeout_s
        while self._recorded < self.offered and time.monotonic() < end:
            self._look()
            await asyncio.sleep(0.1)

    def _look(self) -> None:
        records = self._results.read()
        if len(records) > self._recorded or self._recorded == 0:
            for record in records[self._recorded :]:
                (self._inbox / record["name"]).unlink(missing_ok=True)
            self._recorded, self._since = len(records), time.monotonic()
        self.slowest_gap_s = max(self.slowest_gap_s, time.monotonic() - self._since)
