"""The profiles that plans are made with, of both devices: each measured, or had, as soon as it can be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import structlog

from common.errors import CleaveError, LinkError, LinkLostError, RemoteProtocolError
from common.profile import Profile, ProfileStore
from edge_daemon.spot_check import SpotCheck
from edge_daemon.uplink import Uplink
from models.compute import ComputeThread
from models.executor import Executor
from models.measuring import frame_to_measure, load_or_measure
from models.model import Model
from models.profiler import ProfileRun, sample_frame

log = structlog.get_logger()

FIRST_FRAME_S = 3.0
"""Wait this long for a real frame to profile with; then a sample of 1280 × 720 has to do until there is one."""
RETRY_S = 1.0
BAD_PROFILE_RETRY_S = 30.0


class Profiling:
    """Measures this device between frames, and asks the cloud for its profile, with the first frame there is."""

    def __init__(
        self,
        *,
        model: Model,
        executor: Executor,
        compute: ComputeThread,
        uplink: Uplink,
        store: ProfileStore,
        first_data: asyncio.Future[bytes],
        found: Callable[[Profile | None, Profile | None], None],
        spot_check: SpotCheck,
    ) -> None:
        """`found` is told each device's profile: the edge's, the cloud's; none for the one it is not about."""
        self._model = model
        self._executor = executor
        self._compute = compute
        self._uplink = uplink
        self._store = store
        self._first_data = first_data
        self._found = found
        self._spot_check = spot_check
        self._frame: bytes | None = None
        """What is profiled with; none: a sample, until there is a frame."""

    async def run(self) -> None:
        """Have both profiles found; then go on checking this device's, until cancelled."""
        try:
            async with asyncio.timeout(FIRST_FRAME_S):
                await asyncio.shield(self._first_data)
        except TimeoutError:
            log.info("profiling with a sample frame", reason=f"no frame came within {FIRST_FRAME_S:g} s")
        else:
            await self._have_frame()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._edge())
            group.create_task(self._cloud())

    async def _have_frame(self) -> None:
        """Profile with the first frame from now on, once there is one."""
        frame = await asyncio.shield(self._first_data)
        self._frame = await asyncio.to_thread(frame_to_measure, frame, self._model.preprocessing)

    async def _edge(self) -> None:
        frame = self._frame
        profile = await self._edge_profile(frame)
        self._found(profile, None)
        checking = asyncio.create_task(self._spot_check.run(profile))
        try:
            if frame is None:
                await self._have_frame()
                real = await self._edge_profile(self._frame)
                if real != profile:  # its size is another than the sample's
                    checking.cancel()
                    self._found(real, None)
                    checking = asyncio.create_task(self._spot_check.run(real))
            await checking
        finally:
            checking.cancel()

    async def _edge_profile(self, frame: bytes | None) -> Profile:
        """Return this device's profile for frames like this one; for a sample without one, or if none else can be."""
        if frame is None:
            return await self._measured(sample_frame())
        profile: Profile | None = None
        try:
            profile = await self._measured(frame)
        except (CleaveError, RuntimeError, MemoryError) as error:  # of this frame, or of its size
            if frame == sample_frame():
                raise
            reason = f"{type(error).__name__}: {error}"
            log.warning("this device cannot be profiled with a real frame, a sample has to do", reason=reason)
        return profile or await self._measured(sample_frame())

    async def _measured(self, frame: bytes) -> Profile:
        """Return this device's profile for frames like this one, the saved one or one that is measured now."""
        # Off the event loop: the whole file is looked through.
        run = await asyncio.to_thread(ProfileRun, self._model, self._executor, frame)
        return await load_or_measure(run, self._store, self._compute)

    async def _cloud(self) -> None:
        """Have the cloud's profile found, and again when another daemon answers there: it may be another machine. And
        when it was asked with a sample, and there is a frame.
        """
        known: Profile | None = None
        while True:
            frame = self._frame
            profile, daemon = await self._told(frame or sample_frame())
            if profile != known:
                total_ms = round(profile.total_ms, 1)
                log.info("cloud's profile received", total_ms=total_ms, device=profile.key.device)
                self._found(None, profile)
            known = profile
            while self._frame is frame and self._still(daemon):  # noqa: ASYNC110 (no hurry)
                await asyncio.sleep(RETRY_S)

    def _still(self, daemon: object) -> bool:
        """Say whether no other daemon is known to be in the cloud's place."""
        cloud = self._uplink.cloud
        return cloud is None or cloud.daemon == daemon

    async def _told(self, frame: bytes) -> tuple[Profile, object]:
        """Ask the cloud until it has told a profile of use; return that, and whose it is."""
        lost = 0
        while True:
            cloud = self._uplink.cloud
            try:
                profile = await self._uplink.profile(frame)
                self._check(profile)
            except LinkLostError:
                # There is no connection yet. Or it went, and it may be for this: each time it costs a frame's upload.
                lost += cloud is not None
                await asyncio.sleep(min(RETRY_S * 2 ** max(lost - 1, 0), BAD_PROFILE_RETRY_S))
            except LinkError as error:
                log.warning("the cloud's profile is of no use", reason=str(error))
                await asyncio.sleep(BAD_PROFILE_RETRY_S)
            else:
                return profile, cloud and cloud.daemon

    def _check(self, profile: Profile) -> None:
        """Raise `RemoteProtocolError` unless the cloud's profile is one of this model."""
        if profile.key.fingerprint != self._model.fingerprint:
            raise RemoteProtocolError("it is of another model")
        if set(profile.unit_ms) != set(self._model.graph.names) or not math.isfinite(profile.total_ms):
            raise RemoteProtocolError("its units are not this model's, each with a finite time")
