"""A peer that stops reading for a minute: what that costs the other side's memory, and the other edges' frames.

    python -m tests.chaos.slow_reader --seconds 60

A real cloud daemon serves three good edges beside one that has several connections, sends frames and pings, and
reads all of what it is told in every other turn: in the turns between it reads nothing, or a byte a second. And a
real edge daemon has a cloud that stops reading while it sends. Ends with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmarks.light_edges import Counts, LightEdge
from benchmarks.pair import free_port
from common.plan import Cut
from common.wire.tensors import TensorEntry
from models.crossing import to_wire
from models.executor import TorchExecutor
from models.model import Model
from models.preprocess import as_frame
from tests.chaos.deaf_cloud import try_a_deaf_cloud
from tests.chaos.forked import ForkedDaemon
from tests.chaos.process_figures import rss_bytes
from tests.chaos.reader_verdict import Finding, Turn, ceiling_bytes, compare, table
from tests.chaos.silent_peer import Load, SilentPeer, decoder_of, tail_of
from tests.chaos.tiny_pair import CLOUD, tracebacks
from tests.tiny_model import jpeg, tiny_model

GOOD_EDGES = 3
GOOD_PAUSE_S = 0.02
CONNECTIONS = 8
"""Of the peer that stops reading. Nothing limits how many an edge may have; what each may cost is limited."""
SETTLE_S = 1.0
LOOK_S = 0.1
PICTURE = (640, 480)
WINDOW_BYTES = 4 * 1024 * 1024

WAYS = {
    "reads nothing": ("nothing", False, None),
    "reads a byte a second": ("byte", False, None),
    "reads nothing of large answers": ("nothing", True, None),
    "the same with a large window": ("nothing", True, WINDOW_BYTES),
}
"""How the peer reads in its turns, whether it has large answers, and its receive buffer."""


def start_cloud(root: Path, port: int) -> ForkedDaemon:
    """Start a cloud daemon, and wait until it listens."""
    environment = {
        **CLOUD,
        "CLEAVE_CLOUD_LISTEN": f"127.0.0.1:{port}",
        "CLEAVE_CLOUD_IPERF_PORT": str(free_port()),
        "CLEAVE_CLOUD_STATE_DIR": str(root / "cloud-state"),
    }
    log = root / "cloud.log"
    log.touch()
    cloud = ForkedDaemon("cloud", environment, log)
    deadline = time.monotonic() + 60.0
    while '"listening for edges"' not in log.read_text():
        if not cloud.running or time.monotonic() > deadline:
            raise RuntimeError(f"the cloud does not listen:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
    return cloud


def loads(model: Model, cut: Cut, large: bool, window_bytes: int | None) -> Load:
    """Return what the peer asks for: as the good edges do, or images decoded and handed back."""
    if large:
        image = Image.effect_noise(PICTURE, 60).convert("RGB")
        file = io.BytesIO()
        image.save(file, "JPEG", quality=80)
        entries, chunks = to_wire(model.graph, {model.graph.source: as_frame(file.getvalue())})
        prepare, answer_bytes, each_s = decoder_of(model), 3 * PICTURE[0] * PICTURE[1], 2.0
    else:
        entries, chunks = crossing(model, cut)
        prepare, answer_bytes, each_s = tail_of(model, cut), 1024, 10.0
    return Load(
        prepare=prepare,
        entries=entries,
        chunks=[bytes(chunk) for chunk in chunks],
        frames_each_s=each_s,
        answer_bytes=answer_bytes,
        window_bytes=window_bytes,
    )


def crossing(model: Model, cut: Cut) -> tuple[tuple[TensorEntry, ...], list[memoryview | bytes]]:
    """Return what a cut sends for a frame."""
    head = TorchExecutor("cpu", 1).compile(model.segment(cut.edge_units, cut.crossing))
    return to_wire(model.graph, head.run({model.graph.source: as_frame(jpeg())}))


class Bench:
    """The cloud with its good edges, and one way after the other of not reading."""

    def __init__(self, cloud: ForkedDaemon, address: tuple[str, int], connections: int) -> None:
        self.model = tiny_model()
        self.cut = Cut.from_label(self.model.graph, "after resize")
        self._cloud, self._address = cloud, address
        self._connections = connections
        self._good: list[LightEdge] = []

    async def connect(self) -> None:
        """Have the good edges served."""
        entries, chunks = crossing(self.model, self.cut)
        for number in range(GOOD_EDGES):
            edge = LightEdge(entries, chunks, GOOD_PAUSE_S)
            await edge.connect(*self._address)
            await edge.ready(self.model, f"good {number}", self.cut)
            edge.begin(1)
            self._good.append(edge)

    async def measure(self, name: str, seconds: float) -> Finding:
        """Have the peer read all, then not, then all again."""
        reading, large, window_bytes = WAYS[name]
        load = loads(self.model, self.cut, large, window_bytes)
        peers = [
            SilentPeer(self._address, self.model, f"silent {number}", load)
            for number in range(self._connections)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(peer.run()) for peer in peers]
            for peer in peers:
                await peer.ready.wait()
            turns = []
            for way, length_s in (("all", seconds / 2), (reading, seconds), ("all", seconds / 2)):
                turns.append(await self._turn(peers, way, length_s))
            for task in tasks:
                task.cancel()
        ceiling = ceiling_bytes(self._connections, load.answer_bytes, load.frame_bytes)
        return compare(name, turns, ceiling)

    async def _turn(self, peers: Sequence[SilentPeer], reading: str, seconds: float) -> Turn:
        before = rss_bytes(self._cloud.pid)
        cut_off = sum(peer.cut_off for peer in peers)
        for peer in peers:
            peer.reading = reading
        await asyncio.sleep(SETTLE_S)
        for edge in self._good:
            edge.counts = Counts()
        peak, end = before, time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(LOOK_S)
            peak = max(peak, rss_bytes(self._cloud.pid))
        latencies = [latency * 1e3 for edge in self._good for latency in edge.counts.latencies_s]
        return Turn(
            reading=reading,
            latencies_ms=tuple(latencies),
            rss_before_bytes=before,
            rss_peak_bytes=peak,
            cut_off=sum(peer.cut_off for peer in peers) - cut_off,
        )

    async def close(self) -> None:
        for edge in self._good:
            edge.channel.abort()
        await asyncio.wait([edge.channel.done for edge in self._good])


async def try_cloud(
    cloud: ForkedDaemon, address: tuple[str, int], ways: Sequence[str], seconds: float, connections: int
) -> list[Finding]:
    """Try each way of not reading on a cloud."""
    bench = Bench(cloud, address, connections)
    await bench.connect()
    findings = []
    for way in ways:
        findings.append(await bench.measure(way, seconds))
        print(findings[-1].line(), flush=True)
    await bench.close()
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long nothing is read")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, "a deaf cloud"], default=[*WAYS, "a deaf cloud"])
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument(
        "--no-timing", action="store_true", help="judge memory only, where others use the machine"
    )
    parser.add_argument("--out", type=Path, default=Path("var/slow-reader"))
    chosen = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="cleave-reader-"))
    wrong: list[str] = []
    text = ""
    deaf = try_a_deaf_cloud(root, chosen.seconds) if "a deaf cloud" in chosen.ways else None
    ways = [way for way in chosen.ways if way in WAYS]
    if ways:
        port = free_port()
        cloud = start_cloud(root, port)
        try:
            findings = asyncio.run(
                try_cloud(cloud, ("127.0.0.1", port), ways, chosen.seconds, chosen.connections)
            )
        finally:
            cloud.kill()
        text = table(findings)
        for finding in findings:
            wrong += [said for said in finding.missed() if "p99" not in said or not chosen.no_timing]
    if deaf is not None:
        text += f"\n\n{deaf.line()}"
        wrong += deaf.missed()
    wrong += [f"a log complains: {said[:300]}" for log in root.glob("*.log") for said in tracebacks(log)[:3]]
    print("\n".join(["", text, "", *(f"MISSED: {said}" for said in wrong), "" if wrong else "all bars kept"]))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "slow_reader.md").write_text(text + "\n")
    (chosen.out / "slow_reader.json").write_text(
        json.dumps({"seconds": chosen.seconds, "missed": wrong}) + "\n"
    )
    if wrong:
        print(f"logs are kept in {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
