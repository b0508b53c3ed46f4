"""kill -9 of edge, cloud or both at random moments of a run over a directory; then every file has one record.

    python -m tests.chaos.kill_rounds --victims edge cloud both --rounds 100 --files 500

A round: both daemons run, the victim is killed at a moment drawn at random, and started again after a random pause;
the run goes on to its end. Moments: while the victim starts, after any record, within a record's line (the disk takes
pieces), and around the last record. A kill that came when the edge had ended already does not count as a round.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.pair import free_port
from tests.chaos.forked import ForkedDaemon
from tests.chaos.tiny_pair import CLOUD, EDGE, Verdict, judge, make_frames, offer, tracebacks

VICTIMS: Mapping[str, tuple[str, ...]] = {"edge": ("edge",), "cloud": ("cloud",), "both": ("edge", "cloud")}
PLANS = ("cloud-only", "after resize", "after add", "auto")
MOMENTS = ("start", "record", "record", "line", "end")
RUN_FPS = 450.0
"""So that a run lasts long enough for the cloud to come and to go in it."""
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When the victim is killed: at `share` of the records (0: its start), and `after_s` later; the pause then."""

    kind: str
    share: float
    after_s: float
    pause_s: float
    plan: str

    @classmethod
    def draw(cls, rng: random.Random, victim: str) -> Moment:
        kind = rng.choice([kind for kind in MOMENTS if kind != "line" or "edge" in VICTIMS[victim]])
        share = {"start": 0.0, "end": rng.uniform(0.985, 1.0)}.get(kind, rng.random())
        most_s = {"start": 0.6, "end": 0.02}.get(kind, 0.004)
        return cls(
            kind=kind,
            share=share,
            after_s=rng.uniform(0.0, most_s),
            pause_s=rng.choice((0.0, rng.uniform(0.0, 0.3))),
            plan=rng.choice(PLANS),
        )


@dataclass(slots=True)
class Tally:
    """What the rounds of one victim came to."""

    rounds: int = 0
    too_late: int = 0
    bad: list[str] = field(default_factory=list)
    records: int = 0
    lost: int = 0
    doubled: int = 0
    torn_lines: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    ran: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def say(self, victim: str, files: int) -> str:
        moments = ", ".join(f"{kind} {count}" for kind, count in sorted(self.moments.items()))
        ran = ", ".join(f"{place} {count}" for place, count in self.ran.most_common())
        seconds = f"{statistics.median(self.seconds):.1f} s a round" if self.seconds else ""
        return (
            f"{victim:5}: {self.rounds} rounds of {files} files: {self.records} records, {self.lost} lost, "
            f"{self.doubled} doubled, {len(self.bad)} bad rounds; {self.torn_lines} torn lines repaired; "
            f"{self.too_late} kills too late; moments: {moments}; ran: {ran}; {seconds}"
        )


class Arena:
    """A directory with frames, state and logs, in which the rounds are run one after another."""

    def __init__(self, root: Path, files: int) -> None:
        self.root = root
        self.frames = make_frames(root / "frames", files)
        self.port = free_port()
        self.iperf_port = free_port()
        self.cloud: ForkedDaemon | None = None
        self.classes: dict[str, int] = {}
        self.record_bytes = 1.0

    @property
    def names(self) -> list[str]:
        return [frame.name for frame in self.frames]

    def start_cloud(self) -> ForkedDaemon:
        environment = {
            **CLOUD,
            "CLEAVE_CLOUD_LISTEN": f"127.0.0.1:{self.port}",
            "CLEAVE_CLOUD_IPERF_PORT": str(self.iperf_port),
            "CLEAVE_CLOUD_STATE_DIR": str(self.root / "cloud-state"),
        }
        self.cloud = ForkedDaemon("cloud", environment, self.root / "cloud.log")
        return self.cloud

    def start_edge(self, place: Path, plan: str, torn: bool = False) -> ForkedDaemon:
        results = place / "results.jsonl"
        environment = {
            **EDGE,
            "CLEAVE_EDGE_SOURCE": str(place / "inbox"),
            "CLEAVE_EDGE_RESULTS": str(results),
            "CLEAVE_EDGE_STATE_DIR": str(self.root / "edge-state"),
            "CLEAVE_EDGE_CLOUD": f"127.0.0.1:{self.port}",
            "CLEAVE_EDGE_WHEN_DRAINED": "exit",
            "CLEAVE_EDGE_PLAN": plan,
            "CLEAVE_EDGE_SAMPLING_FPS": str(RUN_FPS),
        }
        return ForkedDaemon("edge", environment, place / "edge.log", torn=results if torn else None)

    def learn_the_answers(self) -> None:
        """Run once on the edge alone, unharmed."""
        place = self._place("reference")
        if self.start_edge(place, "edge-only").wait(LONGEST_S):
            raise RuntimeError((place / "edge.log").read_text())
        results = (place / "results.jsonl").read_bytes()
        self.record_bytes = len(results) / len(self.frames)
        self.classes = {r["name"]: r["top5"][0]["index"] for r in map(json.loads, results.splitlines())}
        assert judge(results, self.names).good

    def run_round(self, number: int, victim: str, moment: Moment) -> tuple[bool, Verdict, Path]:
        """Run one round; say whether the kill landed, and what the results say then."""
        victims = VICTIMS[victim]
        place = self._place(f"{victim}-{number}")
        cloud = self.cloud
        if cloud is None or not cloud.running or (moment.kind == "start" and "cloud" in victims):
            if cloud is not None:
                cloud.kill()
            cloud = self.start_cloud()
        edge = self.start_edge(place, moment.plan, torn=moment.kind == "line")
        self._await(moment, place, edge)
        hit = edge.running
        for daemon in (edge, cloud):
            if daemon.kind in victims:
                hit = daemon.kill() and hit
        time.sleep(moment.pause_s)
        if "cloud" in victims:
            self.start_cloud()
        if "edge" in victims:
            edge = self.start_edge(place, moment.plan)
        status = edge.wait(LONGEST_S)
        verdict = judge((place / "results.jsonl").read_bytes(), self.names, self.classes)
        complaints = tracebacks(place / "edge.log")
        if status or complaints:
            print(f"edge ended with status {status}: {complaints}", file=sys.stderr)
            verdict = Verdict(**(asdict(verdict) | {"garbage": verdict.garbage + 1}))
        return hit, verdict, place

    def _await(self, moment: Moment, place: Path, edge: ForkedDaemon) -> None:
        """Wait for the moment, or for the edge's end if that comes first."""
        results = place / "results.jsonl"
        wanted = moment.share * self.record_bytes * len(self.frames)
        while wanted and edge.running:
            try:
                if results.stat().st_size >= wanted:
                    break
            except FileNotFoundError:
                pass
            time.sleep(0.0005)
        time.sleep(moment.after_s)

    def _place(self, name: str) -> Path:
        place = self.root / name
        place.mkdir()
        offer(self.frames, place / "inbox")
        return place


def run_rounds(arena: Arena, victim: str, rounds: int, rng: random.Random) -> Tally:
    """Run rounds until as many kills have landed; stop at the third bad one."""
    tally = Tally()
    tried = 0
    while tally.rounds < rounds and len(tally.bad) < 3 and tried < 3 * rounds + 3:
        moment = Moment.draw(rng, victim)
        began = time.monotonic()
        hit, verdict, place = arena.run_round(tried, victim, moment)
        tried += 1
        tally.seconds.append(time.monotonic() - began)
        tally.lost += verdict.lost
        tally.doubled += verdict.doubled
        if hit:
            tally.rounds += 1
            tally.records += verdict.records
            tally.moments[moment.kind] += 1
        else:
            tally.too_late += 1
        tally.torn_lines += (place / "edge.log").read_text().count("a torn last line was cut off")
        if verdict.good:
            for line in (place / "results.jsonl").read_text().splitlines():
                tally.ran[json.loads(line)["ran"]] += 1
            _forget(place)
        else:
            tally.bad.append(f"{moment}: {verdict}, kept in {place}")
            print(tally.bad[-1], file=sys.stderr)
    return tally


def _forget(place: Path) -> None:
    for frame in (place / "inbox").iterdir():
        frame.unlink()
    (place / "inbox").rmdir()
    for file in place.iterdir():
        file.unlink()
    place.rmdir()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=list(VICTIMS))
    parser.add_argument("--rounds", type=int, default=100, help="kills that land, for each victim")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)
    failed = False
    root = Path(tempfile.mkdtemp(prefix="cleave-chaos-"))
    arena = Arena(root, chosen.files)
    try:
        arena.learn_the_answers()
        for victim in chosen.victims:
            tally = run_rounds(arena, victim, chosen.rounds, random.Random(f"{chosen.seed} {victim}"))
            print(tally.say(victim, chosen.files), flush=True)
            failed = failed or bool(tally.bad) or tally.rounds < chosen.rounds
    finally:
        if arena.cloud is not None:
            arena.cloud.kill()
    complaints = tracebacks(root / "cloud.log")
    if complaints:
        print(f"the cloud complained: {complaints[:3]}", file=sys.stderr)
    if not (failed or complaints):
        shutil.rmtree(root)
    return 1 if failed or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
