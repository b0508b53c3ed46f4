"""The threads on which stages are made while frames are computed on theirs.

a plan to switch to ───────────► stages          as urgent as frames: what follows is better
what may come into a plan ─────► stages behind   gives way to frames: they hardly see it

A cloud has use for the second only: what is urgent there goes before frames, on their thread.
"""

from __future__ import annotations

from common.niceness import give_way
from models.compute import ComputeThread, Patience
from models.executor import Executor


class StageThreads:
    """Two threads. On each one stage is made at a time."""

    def __init__(self, *, gives_way: bool) -> None:
        self._urgent = ComputeThread("stages")
        self._behind = ComputeThread("stages behind", give_way if gives_way else lambda: None)

    @classmethod
    def of_executor(cls, executor: Executor) -> StageThreads:
        """Make those that suit what `executor` compiles."""
        return cls(gives_way=not executor.brings_threads)

    def of(self, patience: Patience) -> ComputeThread:
        """Return the thread for a stage that is asked for with this patience."""
        return self._behind if patience is Patience.MEASURE else self._urgent

    @property
    def all(self) -> tuple[ComputeThread, ...]:
        return self._urgent, self._behind

    @property
    def idle(self) -> bool:
        """Whether nothing is being made."""
        return all(thread.idle for thread in self.all)

    def stop(self, timeout_s: float) -> None:
        """End both, each once its present stage is made; wait for that at most `timeout_s` each."""
        for thread in self.all:
            thread.stop(timeout_s)
