"""A daemon's way to a profile: the saved one, or one taken step by step between frames."""

from __future__ import annotations

import structlog

from common.profile import Profile, ProfileStore
from models.compute import ComputeThread, Patience
from models.profiler import ProfileRun

log = structlog.get_logger()

PROGRESS_EVERY = 0.2
"""Share of a profile between two lines of progress in the log."""


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
        finished = (await compute.run(run.step, patience=Patience.MEASURE)).result
        share = run.done_steps / run.total_steps
        if share - told >= PROGRESS_EVERY and not finished:
            told = share
            log.info("profiling", done=f"{share:.0%}")
    profile = run.profile()
    path = store.save(profile)
    log.info("profile measured", total_ms=round(profile.total_ms, 1), saved=str(path))
    return profile
