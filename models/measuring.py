"""A daemon's way to a profile: the saved one, or one taken step by step between frames."""

from __future__ import annotations

import time

import structlog

from common.errors import ConfigurationError, FrameError
from common.profile import Profile, ProfileStore
from models.compute import ComputeThread, Patience
from models.preprocess import as_frame, decode, resize
from models.profiler import ProfileRun, sample_frame

log = structlog.get_logger()

TURN_S = 0.1
"""Measuring goes on for this long in its turn on the thread: turns are rare while frames keep it busy."""
PROGRESS_EVERY = 0.2
"""Share of a profile between two lines of progress in the log."""


def frame_to_measure(frame: bytes) -> bytes:
    """Return `frame` if it is an image to its end, of a usable shape, else a sample.

    A profile is needed whatever came first.
    """
    try:
        resize(decode(as_frame(frame)), 256, 224, "bilinear")
    except FrameError as error:
        log.info("profiling with a sample frame", reason=str(error))
        return sample_frame()
    return frame


async def load_or_measure(run: ProfileRun, store: ProfileStore, compute: ComputeThread) -> Profile:
    """Return the saved profile for `run`'s key; else measure on the compute thread, behind frames, and save."""
    saved = store.load(run.key)
    if saved is not None:
        log.info("profile reused", frame=run.key.frame, total_ms=round(saved.total_ms, 1))
        return saved
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
        saved_to = str(store.save(profile))
    except ConfigurationError as error:  # it is good for this run
        log.warning("the profile is measured anew at the next start", reason=str(error))
        saved_to = None
    log.info("profile measured", total_ms=round(profile.total_ms, 1), saved=saved_to)
    return profile


def _some_steps(run: ProfileRun) -> bool:
    until = time.perf_counter() + TURN_S
    while not run.step():
        if time.perf_counter() >= until:
            return False
    return True
