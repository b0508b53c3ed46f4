"""The pair for a long time under faults: memory, descriptors, tasks and latencies stay as they are, no file is lost.

    python -m tests.chaos.soak --minutes 30

Periods of about a minute: faults on the links and at the clouds' ports while frames flow; then calm; then a quiet
moment, in which all are connected and nothing is on its way: descriptors and tasks are counted then, and results
taken away. Ends with status 1 if a bar is missed. The first quarter (five minutes at most) is left out as warm-up.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_daemon.frame_counts import FrameCounts
from tests.chaos.garbage import GarbageVisitors
from tests.chaos.links_process import LinksProcess
from tests.chaos.process_figures import has_children, look
from tests.chaos.soak_faults import Fault, draw_faults
from tests.chaos.soak_site import CLOUDS, EDGES, MORTAL, Site
from tests.chaos.soak_verdict import (
    AllFrames,
    Course,
    Latency,
    Look,
    Rest,
    Row,
    all_frames,
    as_document,
    row_of,
    table,
)
from tests.chaos.steadiness import warm_up_s
from tests.chaos.task_report import ask
from tests.chaos.tiny_pair import tracebacks

LOOK_S = 2.0
READ_S = 0.5
OFFER_S = 0.08
"""Each edge gets a file so often."""
DAMAGED_SHARE = 0.02
FAULTS_SHARE, CALM_SHARE = 0.5, 0.38
"""Of a period; what is left is for coming to rest."""
REST_TIMEOUT_S = 60.0
READY_S = 60.0


class Soak:
    """Drives a site: one thread, one loop, nothing else, so that it may fork at any time."""

    def __init__(self, site: Site, links: LinksProcess, rng: random.Random, period_s: float) -> None:
        self.site = site
        self.courses = {name: Course(mortal=name == MORTAL) for name in (*CLOUDS, *EDGES)}
        self.faults: Counter[str] = Counter()
        self.unrested: list[str] = []
        self.iperf_turns = 0
        self._links = links
        self._rng = rng
        self._period_s = period_s
        self._garbage = GarbageVisitors(rng)
        self._began, self._began_of_day = time.monotonic(), time.time()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ended: list[str] = []

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    # --- the run ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start all daemons and wait until they are at rest."""
        for cloud in CLOUDS:
            self.site.start_cloud(cloud)
        for edge in EDGES:
            self.site.start_edge(edge)
        self._until_at_rest(READY_S)

    def run(self, length_s: float) -> None:
        """Run periods until `length_s` have passed."""
        self._every(LOOK_S, self._look)
        while self.now < length_s:
            self._one_period()
            self._say()

    def _one_period(self) -> None:
        begin = self.now
        faults_end = begin + FAULTS_SHARE * self._period_s
        for fault in draw_faults(
            self._rng, begin=begin, end=faults_end, edges=tuple(EDGES), clouds=CLOUDS, mortal=MORTAL
        ):
            self._do_at(fault.at, lambda fault=fault: self._break(fault))  # type: ignore[misc]
        offers = self._every(OFFER_S, self._offer)
        reads = self._every(READ_S, self._read)
        self._go_on_until(faults_end + CALM_SHARE * self._period_s)
        offers()
        self._until_at_rest(REST_TIMEOUT_S)
        reads()
        self._rest()

    def _until_at_rest(self, timeout_s: float) -> None:
        deadline = self.now + timeout_s
        while self.now < deadline:
            self._go_on_until(self.now + 0.2)
            self._read()
            waiting = [edge for edge in EDGES if not self.site.at_rest(edge)]
            waiting += [name for name, one in self.site.daemons.items() if has_children(one.pid)]
            if not waiting:
                return
        self.unrested.append(f"at {self.now:.0f} s: {', '.join(waiting)}")
        print(f"not at rest: {self.unrested[-1]}", flush=True)

    def _rest(self) -> None:
        """Count what daemons hold at a quiet moment, and take the results away."""
        for name, daemon in self.site.daemons.items():
            told = ask(daemon.pid, self.site.tasks_file(name)) if daemon.running else None
            if told is not None:
                descriptors = look(daemon.pid).descriptors
                self.courses[name].rests.append(Rest(self.now, descriptors, told.tasks, told.blocks))
        for edge in EDGES:
            self.site.rotate(edge)

    def stop(self) -> list[str]:
        """End all daemons; return what was wrong with that, and with their logs and counts."""
        self._garbage.leave()
        statuses = self.site.stop()
        for edge in EDGES:
            self.site.read(edge)
        wrong = [f"{name} ended with status {status}" for name, status in statuses.items() if status]
        wrong += [f"{name} did not end" for name in self.site.daemons.keys() - statuses.keys()]
        for name in (*CLOUDS, *EDGES):
            wrong += [f"{name} complained: {text[:300]}" for text in tracebacks(self.site.log(name))[:3]]
        for edge in EDGES:
            FrameCounts(**self.site.status(edge)["frames"])
        return wrong + self._ended

    # --- what is due ------------------------------------------------------------------------------------
    def _do_at(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._order), what))

    def _every(self, period_s: float, what: Callable[[], None]) -> Callable[[], None]:
        """Do something again and again; return what ends that."""
        going = True

        def again() -> None:
            if going:
                what()
                self._do_at(self.now + period_s, again)

        def end() -> None:
            nonlocal going
            going = False

        self._do_at(self.now, again)
        return end

    def _go_on_until(self, at: float) -> None:
        while self.now < at:
            while self._due and self._due[0][0] <= self.now:
                heapq.heappop(self._due)[2]()
            soonest = self._due[0][0] if self._due else at
            time.sleep(max(min(soonest, at) - self.now, 0.001))

    def _look(self) -> None:
        for name, daemon in self.site.daemons.items():
            if daemon.running:
                self.courses[name].looks.append(Look(self.now, daemon.pid, look(daemon.pid)))
            elif name != MORTAL and name not in {text.split()[0] for text in self._ended}:
                self._ended.append(f"{name} ended by itself, status {daemon.status}")
                print(self._ended[-1], flush=True)

    def _offer(self) -> None:
        for edge in EDGES:
            damaged = self._rng.choice(("broken", "empty")) if self._rng.random() < DAMAGED_SHARE else None
            self.site.offer(edge, damaged)

    def _read(self) -> None:
        for edge in EDGES:
            for told in self.site.read(edge):
                ended = told.answered_at - self._began_of_day
                if not told.failed:
                    began = ended - told.latency_ms / 1e3
                    self.courses[edge].latencies.append(Latency(began, ended, told.latency_ms, told.way))

    def _break(self, fault: Fault) -> None:
        """Begin a fault; have it undone in time."""
        self.faults[fault.kind] += 1
        for edge in EDGES:
            near = {"garbage": EDGES[edge].cloud, "kill": edge}.get(fault.kind, edge)
            # Starting a daemon takes both cores for a moment, which everybody feels.
            if fault.target == near or fault.kind == "kill":
                self.courses[edge].touched.append(fault.span)
        if fault.kind == "garbage":
            self._garbage.visit(self.site.ports[fault.target])
            self._do_at(self.now + fault.lasts_s, self._garbage.leave)
        elif fault.kind == "kill":
            self.site.daemons[fault.target].kill()
            self._do_at(self.now + fault.lasts_s, lambda: self._start_again(fault.target))
        for order in fault.orders:
            self._links.order(fault.target, order)
        if fault.undone:
            self._do_at(fault.at + fault.lasts_s, lambda: self._undo(fault))

    def _undo(self, fault: Fault) -> None:
        for order in fault.undone:
            self._links.order(fault.target, order)

    def _start_again(self, edge: str) -> None:
        self._garbage.leave()  # or the fork would hold these connections open
        self.site.start_edge(edge)

    def _say(self) -> None:
        shown = []
        for name, course in self.courses.items():
            last, rest = course.looks[-1].figures, course.rests[-1] if course.rests else None
            counts = f"{rest.descriptors}/{sum(rest.tasks.values())}" if rest else "–"
            shown.append(f"{name} {last.rss_bytes / 2**20:.1f} MiB {counts}")
        records = sum(books.records for books in self.site.books.values())
        print(
            f"{self.now:6.0f} s: {records} records, {self.faults.total()} faults; RSS, descriptors/tasks at rest: "
            f"{'; '.join(shown)}",
            flush=True,
        )


def missed(soak: Soak, rows: Sequence[Row], frames: AllFrames | None, length_s: float) -> list[str]:
    """Return every bar that was missed, in words."""
    found = [text for row in rows for text in row.missed()]
    found += frames.missed() if frames is not None else []
    for edge, books in soak.site.books.items():
        for what, names in (
            ("lost", [*books.offered]),
            ("doubled", books.doubled),
            ("foreign", books.foreign),
            ("wrong", books.wrong),
        ):
            if names:
                found.append(f"{edge}: {len(names)} {what}: {', '.join(names[:5])}")
    found += [f"never at rest {text}" for text in soak.unrested]
    if length_s >= 600.0:  # long enough that each figure must be there
        found += [f"{row.name}: too few quiet moments" for row in rows if row.tasks is None]
        immortal = [row for row in rows if row.name != MORTAL]
        found += [f"{row.name}: too few windows for a slope" for row in immortal if row.rss is None]
        found += ["too few frames for a p99"] if frames is None else []
    return found


def report(
    soak: Soak, rows: Sequence[Row], frames: AllFrames | None, length_s: float, wrong: Sequence[str]
) -> str:
    """Say what a run came to, ready to be put into a document."""
    books = soak.site.books
    lossless = [books[name] for name, kind in EDGES.items() if kind.lossless]
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(soak.faults.items()))
    ran = sum((one.ran for one in books.values()), Counter())
    places = ", ".join(f"{place} {count:,}" for place, count in ran.most_common())
    return "\n".join(
        [
            f"{length_s / 60:.1f} minutes, of them {warm_up_s(length_s) / 60:.1f} warm-up. Faults: {faults}.",
            f"Lossless edges: {sum(one.records for one in lossless):,} records, "
            f"{sum(one.damaged for one in lossless)} of damaged images, "
            f"{sum(len(one.offered) for one in lossless)} lost, {sum(len(one.doubled) for one in lossless)} doubled. "
            f"All records by where they ran: {places}.",
            "",
            table(rows),
            "",
            *([frames.line(), ""] if frames is not None else []),
            *(f"MISSED: {text}" for text in wrong),
            "" if wrong else "all bars kept",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--period-s", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--out", type=Path, default=Path("var/soak"), help="where report and figures go")
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)
    length_s = chosen.minutes * 60
    root = Path(tempfile.mkdtemp(prefix="cleave-soak-"))
    site = Site(root)
    try:
        with LinksProcess(site.links()) as links:
            soak = Soak(site, links, random.Random(chosen.seed), chosen.period_s)
            soak.start()
            soak.run(length_s)
            wrong = soak.stop()
    finally:
        site.kill()
    after = warm_up_s(length_s)
    rows = [row_of(name, course, after) for name, course in soak.courses.items()]
    frames = all_frames(soak.courses.values(), after)
    wrong += missed(soak, rows, frames, length_s)
    text = report(soak, rows, frames, length_s, wrong)
    print(text)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "soak.md").write_text(text + "\n")
    document = {"seed": chosen.seed, "minutes": chosen.minutes, "missed": wrong}
    document |= as_document(soak.courses, rows)
    (chosen.out / "soak.json").write_text(json.dumps(document, indent=1) + "\n")
    if wrong:
        print(f"logs are kept in {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
