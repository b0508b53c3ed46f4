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
    """Two threads, on each of which one stage is made at a time; or none, where frames' thread makes them all."""

    def __init__(self, urgent: ComputeThread | None = None, behind: ComputeThread | None = None) -> None:
        self._urgent, self._behind = urgent, behind

    @classmethod
    def begin(cls, *, gives_way: bool) -> StageThreads:
        """Begin both. Without `gives_way` neither gives way to frames."""
        return cls(
            ComputeThread("stages", partial(give_way, HALF_AS_URGENT if gives_way else 0)),
            ComputeThread("stages behind", partial(give_way, GIVES_WAY if gives_way else 0)),
        )

    @classmethod
    def of_executor(cls, executor: Executor) -> StageThreads:
        """Begin those that suit what `executor` compiles; none where it compiles on the frames' thread only."""
        return cls.begin(gives_way=not executor.brings_threads) if executor.compiles_anywhere else cls()

    def of(self, patience: Patience) -> ComputeThread | None:
        """Return the thread for a stage that is asked for with this patience."""
        return self._behind if patience is Patience.MEASURE else self._urgent

    @property
    def all(self) -> tuple[ComputeThread, ...]:
        return tuple(thread for thread in (self._urgent, self._behind) if thread is not None)

    @property
    def idle(self) -> bool:
        """Whether nothing is being made on them."""
        return all(thread.idle for thread in self.all)

    def stop(self, timeout_s: float) -> None:
        """End them, each once its present stage is made; wait for that at most `timeout_s` each."""
        for thread in self.all:
            thread.stop(timeout_s)
