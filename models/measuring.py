"""A daemon's way to a profile: the saved one, or one taken step by step between frames."""

from __future__ import annotations

import asyncio
import statistics
import time

import structlog

from common.errors import ConfigurationError, FrameError
from common.profile import Profile, ProfileKey, ProfileStore
from models.compute import ComputeThread, Patience
from models.model import Model
from models.preprocess import Preprocessing, as_frame, decode, resize
from models.profiler import ProfileRun, sample_frame
from models.stages import Stages

log = structlog.get_logger()

TURN_S = 0.1
"""Measuring goes on for this long in its turn on the thread: turns are rare while frames keep it busy."""
TURNS = 3
"""Of each of two segments that are measured in turn."""
PROGRESS_EVERY = 0.2
"""Share of a profile between two lines of progress in the log."""


def frame_to_measure(frame: bytes, steps: Preprocessing) -> bytes:
    """Return `frame` if it is an image to its end, of a shape that the model's `steps` take, else a sample.

    A profile is needed whatever came first.
    """
    try:
        resize(decode(as_frame(frame)), steps.resize_size, steps.crop_size, steps.interpolation)
    except (FrameError, MemoryError) as error:
        log.info("profiling with a sample frame", reason=str(error) or "there is no memory for it")
        return sample_frame()
    return frame


async def load_or_measure(run: ProfileRun, store: ProfileStore, compute: ComputeThread) -> Profile:
    """Return the saved profile for `run`'s key; else measure on the compute thread, behind frames, and save."""
    return await saved_profile(store, run.key) or await measure_profile(run, store, compute)


async def saved_profile(store: ProfileStore, key: ProfileKey) -> Profile | None:
    """Return the saved profile for `key`, if any. Read off the event loop: a worn SD card takes seconds for it."""
    saved = await asyncio.to_thread(store.load, key)
    if saved is not None:
        log.info("profile reused", frame=key.frame, total_ms=round(saved.total_ms, 1))
    return saved


async def measure_profile(run: ProfileRun, store: ProfileStore, compute: ComputeThread) -> Profile:
    """Measure on the compute thread, behind frames, and save off the event loop; unsaved it is as good."""
    log.info("profiling", frame=run.key.frame, steps=run.total_steps)
    told = 0.0
    finished = False
    while not finished:
        finished = (await compute.run(_some_steps, run, patience=Patience.MEASURE)).result
        share = run.done_steps / run.total_steps
        if share - told >= PROGRESS_EVERY and not finished:
            told = share
            log.info("profiling", done=f"{share:.0%}")
    profile = run.profile()
    try:
        saved_to = str(await asyncio.to_thread(store.save, profile))
    except ConfigurationError as error:  # it is good for this run
        log.warning("the profile is measured anew at the next start", reason=str(error))
        saved_to = None
    log.info("profile measured", total_ms=round(profile.total_ms, 1), saved=saved_to)
    return profile


Part = tuple[tuple[str, ...], tuple[str, ...]]
"""Units, and those of them whose outputs are handed on."""


def whole_network(model: Model) -> Part:
    """Return the network with the answer: what segments of it are measured beside."""
    return (*model.network_units, model.graph.sink), (model.graph.sink,)


async def measure_in_turn(
    stages: Stages, part: Part, whole: Part, compute: ComputeThread
) -> tuple[float, float]:
    """Return the times of two segments in ms, run in turn behind frames: medians of `TURNS`, the first by ratio.

    What a busy or throttled machine does to one of them it does to the other in the same turn.
    """
    for units, outputs in (part, whole):
        await stages.prepare_beside(units, outputs, compute, Patience.MEASURE)
    turns = [
        (await _undisturbed_ms(stages, part, compute), await _undisturbed_ms(stages, whole, compute))
        for _ in range(TURNS)
    ]
    whole_ms = statistics.median(of_whole for _, of_whole in turns)
    return statistics.median(of_part / of_whole for of_part, of_whole in turns) * whole_ms, whole_ms


async def _undisturbed_ms(stages: Stages, part: Part, compute: ComputeThread) -> float:
    """Run a segment once; again, `TURNS` times at most, if another one was compiled beside it."""
    ms = 0.0
    for _ in range(TURNS):
        disturbed = stages.is_making
        ms = (await compute.run(_one_run, stages, *part, patience=Patience.MEASURE)).result
        if not disturbed and not stages.is_making:
            break
    return ms


def _one_run(stages: Stages, units: tuple[str, ...], outputs: tuple[str, ...]) -> float:
    compiled = stages.prepare(units, outputs)  # it is there, but where others have made room meanwhile
    inputs = stages.example(compiled.segment)
    began = time.perf_counter()
    compiled.run(inputs)
    return (time.perf_counter() - began) * 1e3


def _some_steps(run: ProfileRun) -> bool:
    until = time.perf_counter() + TURN_S
    while not run.step():
        if time.perf_counter() >= until:
            return False
    return True
