"""The cloud's front door: accepts edges, bounds what they may occupy, ends them in good order."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence

import structlog

from cloud_daemon.frame_runner import FrameRunner
from cloud_daemon.probe_turns import ProbeTurns
from cloud_daemon.session import Session
from cloud_daemon.tail import TailPool
from common import limits
from common.config import Address
from common.errors import ConfigurationError
from common.profile import ModelFingerprint
from common.wire.connection import Allocate, aligned_buffer
from common.wire.messages import Drain
from common.wire.transport import Channel

log = structlog.get_logger()

DRAIN_S = 1.5
"""On shutdown, frames already here have this long to be answered."""
FLUSH_S = 0.3
"""And then as long to leave this machine."""


class CloudServer:
    """Listens for edges; each connection is a `Session`."""

    def __init__(
        self,
        name: str,
        listen: Address,
        pools: Sequence[TailPool],
        frames: FrameRunner,
        iperf_port: int,
        tasks: asyncio.TaskGroup,
        allocate: Allocate = aligned_buffer,
    ) -> None:
        self.name = name
        self.allocate = allocate
        self.pools: Mapping[ModelFingerprint, TailPool] = {pool.model.fingerprint: pool for pool in pools}
        self.frames = frames
        self.tasks = tasks
        self.turns = ProbeTurns(listen.host, iperf_port)
        self.sessions: set[Session] = set()
        self._greeting: dict[Session, None] = {}  # the longest here first
        self._listen = listen
        self._numbers = itertools.count(1)
        self._run_id = secrets.token_hex(4)
        self._server: asyncio.Server | None = None

    # --- what sessions call -----------------------------------------------------------------------------
    def opened(self, session: Session) -> None:
        self._greeting.pop(session, None)
        self.sessions.add(session)

    def ended(self, session: Session) -> None:
        self._greeting.pop(session, None)
        self.sessions.discard(session)

    # --- what the daemon calls --------------------------------------------------------------------------
    @property
    def frames_here(self) -> int:
        """Frames of all edges that have not been answered yet."""
        return sum(session.in_flight for session in self.sessions)

    async def start(self) -> Address:
        """Listen; return the address (with the port in use, if port 0 was asked for).

        Raises `ConfigurationError` when the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._accept, self._listen.host, self._listen.port, reuse_address=True
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self._listen} ({error.strerror or error}); is another daemon running there? "
                "Set CLEAVE_CLOUD_LISTEN to another host:port"
            ) from error
        port = self._server.sockets[0].getsockname()[1]
        return Address(host=self._listen.host, port=port)

    async def stop(self) -> None:
        """Accept nobody new, tell the edges, answer what is here, close."""
        if self._server is not None:
            self._server.close()
        for session in [*self.sessions]:
            if session.channel.is_open:
                session.channel.send(Drain(reason="the cloud is shutting down"))
        waited = 0.0
        while self.frames_here and waited < DRAIN_S:
            await asyncio.sleep(0.02)
            waited += 0.02
        channels = [session.channel for session in (*self.sessions, *self._greeting)]
        for channel in channels:
            channel.close()
        if channels:
            await asyncio.wait([channel.done for channel in channels], timeout=FLUSH_S)
        for channel in channels:
            channel.abort()

    def _accept(self) -> Channel:
        session = Session(self, f"{self._run_id}-{next(self._numbers)}")
        self._greeting[session] = None
        if len(self._greeting) > limits.MAX_GREETING_CONNECTIONS:
            # The oldest: an edge greets at once, so it gets in among any number that only hold their sockets open.
            log.warning("too many connections without a handshake, closing one", open=len(self._greeting))
            oldest = next(iter(self._greeting))
            del self._greeting[oldest]
            asyncio.get_running_loop().call_soon(oldest.channel.abort)
        return session.channel
