"""What a soak runs: two clouds, four edges behind emulated links, and somebody who feeds them and takes results away.

    walk    lossless   all in the cloud        ═ link ═►  plain
    twins   lossless   split, two tensors      ═ link ═►  plain     killed and started again now and then
    camera  latest     as it decides, lossy    ═ link ═►  plain     takes the iperf3 turns
    vault   lossless   split                   ═ link ═►  guarded   under TLS

Files are there as hard links to a few pictures; those that have their record are taken away, and so are the results.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.emulated_link import Forward
from benchmarks.pair import free_port
from tests.certificates import files, rack
from tests.chaos.forked import ForkedDaemon
from tests.chaos.task_report import report_tasks
from tests.chaos.tiny_pair import CLOUD, EDGE, make_frames

PICTURES = 12
KEPT_BY_CAMERA = 20
"""Images that a camera's directory keeps, the newest."""
REPLAN_S = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeKind:
    """How one edge of the site is set up."""

    cloud: str
    settings: Mapping[str, str]
    lossless: bool = True
    cut: str | None = None
    """The cut that is fixed, if one is."""


EDGES: Mapping[str, EdgeKind] = {
    "walk": EdgeKind(cloud="plain", settings={"CLEAVE_EDGE_PLAN": "cloud-only"}, cut="cloud-only"),
    "twins": EdgeKind(cloud="plain", settings={"CLEAVE_EDGE_PLAN": "after resize"}, cut="after resize"),
    "camera": EdgeKind(
        cloud="plain",
        settings={
            "CLEAVE_EDGE_DELIVERY": "latest",
            "CLEAVE_EDGE_SAMPLING_FPS": "8",
            "CLEAVE_EDGE_SLOWDOWN": "15",
            "CLEAVE_EDGE_LOSSY": "auto",
        },
        lossless=False,
    ),
    "vault": EdgeKind(cloud="guarded", settings={"CLEAVE_EDGE_PLAN": "after add"}, cut="after add"),
}
CLOUDS = ("plain", "guarded")
MORTAL = "twins"


@dataclass(frozen=True, slots=True)
class Told:
    """What one record tells: which edge's, of which file, what came of it, and by which cut and where it ran."""

    edge: str
    name: str
    latency_ms: float
    answered_at: float
    failed: bool
    way: str


@dataclass(slots=True)
class Books:
    """What was offered to an edge, and what was told of it."""

    offered: dict[str, int] = field(default_factory=dict)
    """Files that have no record yet, with their pictures; those that are no picture have -1."""
    records: int = 0
    damaged: int = 0
    told: set[str] = field(default_factory=set)
    doubled: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    ran: Counter[str] = field(default_factory=Counter)


class Site:
    """The daemons and their directories. For a process that has computed nothing with torch: it forks."""

    def __init__(self, root: Path, alter: Mapping[str, Callable[[], None]] | None = None) -> None:
        self.root = root
        self._alter = dict(alter or {})
        self.daemons: dict[str, ForkedDaemon] = {}
        self.books = {name: Books() for name in EDGES}
        self.ports = {cloud: free_port() for cloud in CLOUDS}
        self._iperf_ports = {cloud: free_port() for cloud in CLOUDS}
        self._hosts = {name: f"127.0.0.{10 + number}" for number, name in enumerate(EDGES)}
        self._pictures = make_frames(root / "pictures", PICTURES)
        self._answers: dict[int, int] = {}
        self._number = 0
        self._offsets: Counter[str] = Counter()
        self._by_camera: deque[Path] = deque()
        (root / "broken.jpg").write_bytes(self._pictures[0].read_bytes()[:300] + b"\xff\xd9")
        (root / "empty.jpg").touch()
        for name in EDGES:
            self.inbox(name).mkdir()
        rack(root / "guarded-tls", self._hosts["vault"])
        files(root / "vault-tls", "vault")

    # --- daemons ----------------------------------------------------------------------------------------
    def links(self) -> dict[str, list[Forward]]:
        """Return what each edge's link forwards: its cloud's port, and the one that bandwidth is measured at."""
        return {
            name: [
                Forward(listen=(self._hosts[name], port), target=("127.0.0.1", port))
                for port in (self.ports[kind.cloud], self._iperf_ports[kind.cloud])
            ]
            for name, kind in EDGES.items()
        }

    def start_cloud(self, name: str) -> None:
        environment = {
            **CLOUD,
            "CLEAVE_CLOUD_LISTEN": f"127.0.0.1:{self.ports[name]}",
            "CLEAVE_CLOUD_IPERF_PORT": str(self._iperf_ports[name]),
            "CLEAVE_CLOUD_STATE_DIR": str(self.root / f"{name}-state"),
        }
        if name == "guarded":
            environment["CLEAVE_CLOUD_TLS"] = str(self.root / "guarded-tls")
        self._start("cloud", name, environment)

    def start_edge(self, name: str) -> None:
        kind = EDGES[name]
        environment = {
            **EDGE,
            "CLEAVE_EDGE_REPLAN_INTERVAL_S": REPLAN_S,
            "CLEAVE_EDGE_SOURCE": str(self.inbox(name)),
            "CLEAVE_EDGE_RESULTS": str(self._results(name)),
            "CLEAVE_EDGE_STATE_DIR": str(self.root / f"{name}-state"),
            "CLEAVE_EDGE_CLOUD": f"{self._hosts[name]}:{self.ports[kind.cloud]}",
            "CLEAVE_EDGE_NAME": name,
            **kind.settings,
        }
        if kind.cloud == "guarded":
            environment["CLEAVE_EDGE_TLS"] = str(self.root / "vault-tls")
        self._start("edge", name, environment)

    def _start(self, kind: str, name: str, environment: Mapping[str, str]) -> None:
        own = self._alter.get(name)

        def alter() -> None:
            report_tasks(self.tasks_file(name))
            if own is not None:
                own()

        self.daemons[name] = ForkedDaemon(kind, environment, self.log(name), alter=alter)

    def stop(self) -> dict[str, int]:
        """End all daemons in good order, edges first; return their exit statuses."""
        statuses: dict[str, int] = {}
        for names in (EDGES, CLOUDS):
            running = [name for name in names if name in self.daemons]
            for name in running:
                if self.daemons[name].running:
                    os.kill(self.daemons[name].pid, signal.SIGINT)
            for name in running:
                with contextlib.suppress(TimeoutError):
                    statuses[name] = self.daemons[name].wait(15.0)
        return statuses

    def kill(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def tasks_file(self, name: str) -> Path:
        return self.root / f"{name}.tasks"

    def status(self, edge: str) -> dict[str, Any]:
        """Return an edge's status; empty before it has one."""
        try:
            document: dict[str, Any] = json.loads((self.root / f"{edge}-state" / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return document

    def at_rest(self, edge: str) -> bool:
        """Say whether an edge is connected, runs what it should run, and has nothing to do."""
        status, wanted = self.status(edge), EDGES[edge].cut
        if not status or not status["link"]["available"] or (wanted and status["plan"]["cut"] != wanted):
            return False
        frames = status["frames"]
        done = all(frames[place] == 0 for place in ("waiting", "in_flight", "recording"))
        return done and not (EDGES[edge].lossless and self.books[edge].offered)

    # --- frames and results -----------------------------------------------------------------------------
    def inbox(self, edge: str) -> Path:
        return self.root / f"{edge}-inbox"

    def _results(self, edge: str) -> Path:
        return self.root / f"{edge}.jsonl"

    def offer(self, edge: str, damaged: str | None = None) -> None:
        """Put one file into an edge's inbox: a picture, or one that is damaged (`broken`, `empty`)."""
        self._number += 1
        picture = self._number % PICTURES
        name = f"{self._number:08d}.jpg"
        books = self.books[edge]
        source = self.root / f"{damaged}.jpg" if damaged else self._pictures[picture]
        if EDGES[edge].lossless:
            books.offered[name] = -1 if damaged else picture
            books.damaged += damaged is not None
            os.link(source, self.inbox(edge) / name)
            return
        scratch = self.inbox(edge) / f".{name}"  # a camera's pictures have the time they were taken at
        scratch.write_bytes(source.read_bytes())
        scratch.rename(self.inbox(edge) / name)
        self._by_camera.append(self.inbox(edge) / name)
        if len(self._by_camera) > KEPT_BY_CAMERA:
            self._by_camera.popleft().unlink()

    def read(self, edge: str) -> list[Told]:
        """Return the records that have come since the last time; take their files away."""
        try:
            with self._results(edge).open("rb") as file:
                file.seek(self._offsets[edge])
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._offsets[edge] += len(whole)
        return [self._take(edge, json.loads(line)) for line in whole.splitlines()]

    def _take(self, edge: str, record: Mapping[str, Any]) -> Told:
        """Enter a record into the edge's books."""
        books, name = self.books[edge], record["name"]
        failed = record["error"] is not None
        books.records += 1
        books.ran[record["ran"]] += 1
        if EDGES[edge].lossless:
            picture = books.offered.pop(name, None)
            if picture is None:
                (books.doubled if name in books.told else books.foreign).append(name)
            else:
                self._judge(books, name, picture, None if failed else record["top5"][0]["index"])
            books.told.add(name)
            (self.inbox(edge) / name).unlink(missing_ok=True)
        latency_ms = record["ms"]["queue"] + record["ms"]["total"]
        way = f"{record['plan']['cut']}, {record['ran']}"
        return Told(edge, name, latency_ms, _seconds(record["answered_at"]), failed, way)

    def _judge(self, books: Books, name: str, picture: int, answer: int | None) -> None:
        """The same picture has the same answer at all edges, whichever way it goes; one that is none has none."""
        wanted = None if picture < 0 or answer is None else self._answers.setdefault(picture, answer)
        if (picture < 0) != (answer is None) or answer != wanted:
            books.wrong.append(name)

    def rotate(self, edge: str) -> None:
        """Take an edge's results away, as who rotates logs does; its processed images are gone by then."""
        taken = self._results(edge).with_suffix(".1")
        with contextlib.suppress(FileNotFoundError):
            self._results(edge).rename(taken)
            taken.unlink()
        self._offsets[edge] = 0


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
