"""The threads on which stages are made while frames are computed on theirs.

a plan to switch to ───────────► stages          half as urgent as frames: two thirds of a core are theirs
what may come into a plan ─────► stages behind   gives way to frames: they hardly see it
"""

from __future__ import annotations

from functools import partial

from common.niceness import GIVES_WAY, HALF_AS_URGENT, give_way
from models.compute import ComputeThread, Patience
from models.executor import Executor


class StageThreads:
    """Two threads. On each one stage is made at a time."""

    def __init__(self, *, gives_way: bool) -> None:
        self._urgent = ComputeThread("stages", partial(give_way, HALF_AS_URGENT if gives_way else 0))
        self._behind = ComputeThread("stages behind", partial(give_way, GIVES_WAY if gives_way else 0))

    @classmethod
    def of_executor(cls, executor: Executor) -> StageThreads | None:
        """Make those that suit what `executor` compiles; none where it compiles on the frames' thread only."""
        return cls(gives_way=not executor.brings_threads) if executor.compiles_anywhere else None

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
