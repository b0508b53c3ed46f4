"""The profiles that edges ask for: the saved ones, and one that is measured at a time, over all models."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import structlog

from common.errors import CleaveError
from common.profile import Profile, ProfileKey, ProfileStore
from models.compute import ComputeThread
from models.executor import Executor
from models.measuring import frame_to_measure, measure_profile, saved_profile
from models.model import Model
from models.profiler import ProfileRun, profile_key, sample_frame

log = structlog.get_logger()

MOST_WAITING = 4
"""Security: profiles that wait for the one being measured, each with an image. Beyond, an edge gets the profile of a
sample frame: only pre-processing depends on the frame's size, and what it takes is seen with the first answers."""


class MeasuringLine:
    """One measurement at a time: each compiles the whole network, unit by unit, and has all its outputs in memory."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.waiting: set[Asked] = set()


@dataclass(slots=True, eq=False)
class Asked:
    """A profile that is asked for, by so many edges, and is or will be measured."""

    task: asyncio.Task[Profile] | None = None
    edges: int = 0


class Profiles:
    """The profiles of one model on this cloud. What is being measured is shared by all that ask for it."""

    def __init__(
        self, model: Model, executor: Executor, state_dir: Path, compute: ComputeThread, line: MeasuringLine
    ) -> None:
        self._model = model
        self._executor = executor
        self._store = ProfileStore(state_dir)
        self._compute = compute
        self._line = line
        self._asked: dict[str, Asked] = {}

    async def of(self, frame: bytes) -> Profile:
        """Return the profile for frames like `frame`: the saved one, or one measured now.

        A frame that is no whole image is replaced by a sample; so is one whose turn would be far. Measuring that has
        begun goes on when the edge goes, and is saved for its return; what has not begun is not begun for nobody.
        """
        frame, key = await asyncio.to_thread(self._usable, frame)
        saved = await saved_profile(self._store, key)
        if saved is None and key.digest not in self._asked and len(self._line.waiting) >= MOST_WAITING:
            log.info("profiling with a sample frame", reason=f"{MOST_WAITING} other profiles wait already")
            frame, key = await asyncio.to_thread(self._usable, sample_frame())
            saved = await saved_profile(self._store, key)
        if saved is not None:
            return saved
        asked = self._asked_for(key.digest, frame)
        del frame  # who measures has it; who waits for that, perhaps for long, needs none
        return await self._told(key.digest, asked)

    def _usable(self, frame: bytes) -> tuple[bytes, ProfileKey]:
        """Return what to measure with, and its key. Not for the event loop: the whole file is looked through."""
        frame = frame_to_measure(frame, self._model.preprocessing)
        return frame, profile_key(self._model, self._executor, frame)

    def _asked_for(self, digest: str, frame: bytes) -> Asked:
        """Return what is asked for under this digest already, or has to be measured with `frame` now."""
        asked = self._asked.get(digest)
        if asked is None:
            asked = self._asked[digest] = Asked()
            self._line.waiting.add(asked)
            asked.task = asyncio.create_task(self._measure(asked, frame))
            asked.task.add_done_callback(lambda _: self._forget(digest, asked))
        return asked

    async def _told(self, digest: str, asked: Asked) -> Profile:
        """Wait for a profile, as one of the edges that do."""
        assert asked.task is not None
        asked.edges += 1
        try:
            return await asyncio.shield(asked.task)
        finally:
            asked.edges -= 1
            if not asked.edges and asked in self._line.waiting:
                asked.task.cancel()
                self._forget(
                    digest, asked
                )  # at once: an edge that asks now must not wait for a task that ends

    async def _measure(self, asked: Asked, frame: bytes) -> Profile:
        async with self._line.turn:
            self._line.waiting.discard(asked)
            is_sample = frame == sample_frame()
            run = await asyncio.to_thread(ProfileRun, self._model, self._executor, frame)
            del frame  # the run has a copy
            try:
                return await measure_profile(run, self._store, self._compute)
            except (CleaveError, RuntimeError, MemoryError) as error:  # of this frame, or of its size
                if is_sample:
                    raise
                reason = f"{type(error).__name__}: {error}"
                log.warning("an edge's frame cannot be profiled with, a sample has to do", reason=reason)
            run = await asyncio.to_thread(ProfileRun, self._model, self._executor, sample_frame())
            saved = await saved_profile(self._store, run.key)
            return saved or await measure_profile(run, self._store, self._compute)

    def _forget(self, digest: str, asked: Asked) -> None:
        self._line.waiting.discard(asked)
        if self._asked.get(digest) is asked:
            del self._asked[digest]
