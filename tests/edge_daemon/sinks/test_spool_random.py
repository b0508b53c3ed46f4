"""Facts about the spool and the results together, whatever happens in whatever order: nothing lost, order kept."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.files import write_all
from edge_daemon.sinks import spool_segment
from edge_daemon.sinks.results_history import ResultsHistory
from edge_daemon.sinks.spool import Spool, SpoolBound
from edge_daemon.sinks.spool_segment import segment_paths
from tests.edge_daemon.sinks.letters import letter, number_of

WIDE = SpoolBound(1_000_000, 100_000)
NARROW = SpoolBound(1_000_000, 40)


def full(descriptor: int, data: bytes) -> None:
    os.write(descriptor, data[: len(data) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


class SpoolMachine(RuleBasedStateMachine):
    """Records are safe in a results file, then spooled, sent, confirmed; processes die and disks fill in between."""

    bound = WIDE

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.results = self.root / "results.jsonl"
        self.results.touch()
        self.next = 0
        self.unspooled: list[int] = []
        self.received: list[int] = []
        self.full = False
        self.dropped = 0
        self.positions = [b""]
        self._start()

    def _start(self) -> None:
        history = ResultsHistory(self.results)
        self.spool = Spool(self.root / "spool", self.bound, synced=False)
        marks = self.spool.open(history.name, lambda: history.last_id)
        for chunk in history.after(marks) if marks else ():
            self._put([number_of(message) for message in chunk])
        history.close()
        self.unspooled = []

    def _put(self, numbers: list[int]) -> None:
        with mock.patch.object(spool_segment, "write_all", full if self.full else write_all):
            try:
                self.spool.put([letter(number) for number in numbers])
            except OSError:
                assert self.full

    @rule(count=st.integers(1, 12))
    def answer(self, count: int) -> None:
        """Frames are answered: their records are safe."""
        with self.results.open("ab") as file:
            for _ in range(count):
                file.write(letter(self.next).record + b"\n")
                self.unspooled.append(self.next)
                self.next += 1

    @rule()
    def spool_them(self) -> None:
        self._put(self.unspooled)
        self.unspooled = []

    @rule(most=st.integers(1, 20), confirmed=st.booleans())
    def send(self, most: int, confirmed: bool) -> None:
        """The receiver gets a batch; its confirmation may be lost with the connection."""
        batch = self.spool.peek(most, 1_000)
        self.received += [number_of(message) for message in batch.messages]
        if confirmed:
            self.spool.confirm(batch)

    @rule()
    def save(self) -> None:
        self.spool.save()
        self.positions.append((self.root / "spool" / "position.json").read_bytes())

    @rule()
    def toggle_full(self) -> None:
        self.full = not self.full

    @rule()
    def kill(self) -> None:
        """What was in memory is gone; files are as they were."""
        self._forget()
        self._start()

    @precondition(lambda self: self.bound is WIDE)
    @rule(data=st.data())
    def cut_power(self, data: st.DataObject) -> None:
        """Of the last segment, which was never synced, a part is on the disk; and the position is an older one."""
        self._forget()
        for path in segment_paths(self.root / "spool")[-1:]:
            os.truncate(path, data.draw(st.integers(0, path.stat().st_size)))
        position = self.positions[data.draw(st.integers(-min(len(self.positions), 2), -1))]
        if position:
            (self.root / "spool" / "position.json").write_bytes(position)
        self._start()

    def _forget(self) -> None:
        self.dropped += self.spool.dropped
        self.spool.close()

    @invariant()
    def order_is_kept(self) -> None:
        """Each record is received for the first time after all older ones that are."""
        firsts = list(dict.fromkeys(self.received))
        assert firsts == sorted(firsts)

    def teardown(self) -> None:
        self.full = False
        self.spool_them()
        while self.spool.records:
            batch = self.spool.peek(10, 10_000)
            self.received += [number_of(message) for message in batch.messages]
            self.spool.confirm(batch)
        self.order_is_kept()
        self._judge()
        self._forget()
        shutil.rmtree(self.root)

    def _judge(self) -> None:
        assert set(self.received) == set(range(self.next))
        assert self.dropped + self.spool.dropped == 0


class NarrowSpoolMachine(SpoolMachine):
    """The same with a spool that is too small: the youngest come through, and what does not was counted."""

    bound = NARROW

    def _judge(self) -> None:
        lost = set(range(self.next)) - set(self.received)
        assert len(lost) <= self.dropped + self.spool.dropped
        least = self.bound.records - self.bound.segment_records
        assert lost.isdisjoint(range(max(self.next - least, 0), self.next))


TestWideSpool = SpoolMachine.TestCase
TestWideSpool.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestNarrowSpool = NarrowSpoolMachine.TestCase
TestNarrowSpool.settings = TestWideSpool.settings
