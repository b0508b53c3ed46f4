"""The MQTT broker goes away while frames are answered: what its listener has in the end, and what frames noticed.

    python -m tests.chaos.broker_away                       away for 60 s, then in turns, ten seconds each
    python -m tests.chaos.broker_away --away 3 --turns 0    a short one

A real edge (alone, without a cloud) and a real mosquitto, ended by SIGTERM, with its memory on disk: so what it has
confirmed it delivers, and what the listener lacks the edge has lost. Latencies are those of the records (`ms.total`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.pair import Edge
from tests.chaos.tiny_pair import make_edge, make_frames
from tests.mosquitto import BROKER, Broker, listener

TOPIC = "cleave/porch/result"
SETTLE_S = 2.0
"""At the beginning: the first frames are slower than the others."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A span of the time of day in which the broker was there, or was not."""

    there: bool
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AwayVerdict:
    """What the listener has of what was answered. `foreign` are duplicates whose id is another one."""

    answered: int
    received: int
    lost: int
    disordered: int
    duplicates: int
    foreign: int

    @property
    def good(self) -> bool:
        return not (self.lost or self.disordered or self.foreign)


def judge_received(
    results: Sequence[Mapping[str, Any]], received: Sequence[Mapping[str, Any]]
) -> AwayVerdict:
    """Compare what came with the results file: all of it, in its order, and twice only under the same id."""
    order = {record["name"]: number for number, record in enumerate(results)}
    firsts: dict[str, str] = {}
    disordered = foreign = latest = 0
    for message in received:
        name = message["name"]
        if name not in firsts:
            disordered += order[name] < latest
            latest = max(latest, order[name])
        foreign += firsts.setdefault(name, message["id"]) != message["id"]
    foreign += len(firsts) - len(set(firsts.values()))
    return AwayVerdict(
        answered=len(results),
        received=len(firsts),
        lost=len(order.keys() - firsts.keys()),
        disordered=disordered,
        duplicates=len(received) - len(firsts),
        foreign=foreign,
    )


def latencies(results: Sequence[Mapping[str, Any]], phases: Sequence[Phase], there: bool) -> list[float]:
    """Return the frames' times, in ms, while the broker was there, or was not."""
    found = []
    for record in results:
        at = datetime.fromisoformat(record["answered_at"]).timestamp()
        if any(phase.there == there and phase.start <= at < phase.end for phase in phases):
            found.append(record["ms"]["total"])
    return found


def say_latencies(results: Sequence[Mapping[str, Any]], phases: Sequence[Phase]) -> None:
    """Print medians and 99th percentiles with and without the broker, and their ratios."""
    sides = {there: latencies(results, phases, there) for there in (True, False)}
    if min(map(len, sides.values())) < 100:
        print(f"latency: too few frames to tell: {[len(side) for side in sides.values()]}")
        return
    told = {}
    for there, name in ((True, "broker there"), (False, "broker away")):
        cuts = statistics.quantiles(sides[there], n=100)
        told[there] = (statistics.median(sides[there]), cuts[98])
        print(
            f"{name}: {len(sides[there])} frames, median {told[there][0]:.2f} ms, p99 {told[there][1]:.2f} ms"
        )
    ratios = [away / there for there, away in zip(told[True], told[False], strict=True)]
    print(f"away / there: median × {ratios[0]:.3f}, p99 × {ratios[1]:.3f}")


async def run_away(
    directory: Path, *, away_s: float, before_s: float, turns: int, turn_s: float, fps: float, **settings: Any
) -> tuple[AwayVerdict, list[dict[str, Any]], list[Phase], Edge]:
    """Run an edge whose broker goes away; return what was lost, the records, and when the broker was there."""
    seconds = SETTLE_S + before_s + away_s + 2 * turns * turn_s
    broker = Broker(
        directory,
        [
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {directory}/",
            "max_queued_messages 0",
        ],
    )
    broker.start()
    try:
        await broker.listening()
        options = {"identifier": "listener", "clean_session": False}
        async with listener(broker.port, TOPIC, **options) as heard:
            frames = make_frames(directory / "one", 1)
            edge = make_edge(
                directory,
                CLEAVE_EDGE_PLAN="edge-only",
                CLEAVE_EDGE_MQTT=f"mqtt://127.0.0.1:{broker.port}",
                CLEAVE_EDGE_NAME="porch",
                CLEAVE_EDGE_SAMPLING_FPS=fps,
                **settings,
            )
            for number in range(int(seconds * fps)):
                (edge.inbox / f"{number:06d}.jpg").hardlink_to(frames[0])
            async with edge:
                phases = await _play(edge, broker, before_s, away_s, turns, turn_s)
                await edge.until("all frames", lambda: len(edge.records()) == int(seconds * fps), 120)
                await edge.until("an empty spool", lambda: _waiting(edge) == 0, 120)
                wanted = {record["name"] for record in edge.records()}
                await edge.until("all messages", lambda: wanted <= _names(heard.on(TOPIC)), 60)
                await edge.stop()
            received = [json.loads(payload) for payload in heard.on(TOPIC)]
    finally:
        broker.kill()
    return judge_received(edge.records(), received), edge.records(), phases, edge


async def _play(
    edge: Edge, broker: Broker, before_s: float, away_s: float, turns: int, turn_s: float
) -> list[Phase]:
    await edge.answered(1, 60)
    await asyncio.sleep(SETTLE_S)
    phases = []
    lengths = [(before_s, away_s), *[(turn_s, turn_s)] * turns]
    for there_s, gone_s in lengths:
        began = time.time()
        await asyncio.sleep(there_s)
        broker.stop()
        gone = time.time()
        await asyncio.sleep(gone_s)
        phases += [Phase(True, began, gone), Phase(False, gone, time.time())]
        broker.start()
        await broker.listening()
    return phases


def _waiting(edge: Edge) -> int:
    sinks = edge.status().get("sinks") or [{}]
    return int(sinks[0].get("spooled_records", -1)) if edge.status()["frames"]["recording"] == 0 else -1


def _names(payloads: Sequence[bytes]) -> set[str]:
    return {json.loads(payload)["name"] for payload in payloads}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--away", type=float, default=60.0, help="seconds without the broker")
    parser.add_argument("--before", type=float, default=10.0, help="seconds with it before")
    parser.add_argument("--turns", type=int, default=4, help="then with and without it in turns, so often")
    parser.add_argument("--turn", type=float, default=10.0, help="seconds of each")
    parser.add_argument("--fps", type=float, default=20.0)
    parser.add_argument("--model", default="tests.tiny_model:factory", help="mobilenet_v2, say")
    chosen = parser.parse_args(arguments)
    if BROKER is None:
        print("mosquitto is not installed: apt-get install mosquitto", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cleave-broker-") as directory:
        verdict, results, phases, edge = asyncio.run(
            run_away(
                Path(directory),
                away_s=chosen.away,
                before_s=chosen.before,
                turns=chosen.turns,
                turn_s=chosen.turn,
                fps=chosen.fps,
                CLEAVE_MODEL=chosen.model,
            )
        )
        said = Counter(entry["reason"] for entry in edge.logged("sink: receiver away, records wait"))
    print(f"away for {chosen.away:g} s, then {chosen.turns} times for {chosen.turn:g} s: {dict(said)}")
    print(
        f"answers {verdict.answered}, received {verdict.received}: lost {verdict.lost}, out of order "
        f"{verdict.disordered}, duplicates {verdict.duplicates} (all with the same id: {not verdict.foreign})"
    )
    say_latencies(results, phases)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
