"""The cloud's front door: accepts edges, bounds what they may occupy, ends them in good order."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from cloud_daemon.access import Access
from cloud_daemon.door import Door, shake_hands
from cloud_daemon.frame_runner import FrameRunner
from cloud_daemon.frame_tally import FrameTally
from cloud_daemon.greeting import loser_at_the_door
from cloud_daemon.prepare_rank import PrepareRanks
from cloud_daemon.probe_turns import ProbeTurns
from cloud_daemon.session import Session
from cloud_daemon.tail import TailPool
from common.complaints import Complaints
from common.config import Address
from common.profile import ModelFingerprint
from common.wire.messages import Bye, Drain
from common.wire.receive_ledger import ReceiveLedger

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
        access: Access | None = None,
        ledger: ReceiveLedger | None = None,
    ) -> None:
        self.name = name
        self.ledger = ledger or ReceiveLedger(sys.maxsize)
        self.pools: Mapping[ModelFingerprint, TailPool] = {pool.model.fingerprint: pool for pool in pools}
        self.frames = frames
        self.tally = FrameTally()
        self.tasks = tasks
        self.turns = ProbeTurns(listen.host, iperf_port)
        self.ranks = PrepareRanks()
        self.sessions: set[Session] = set()
        self.access = access or Access()
        self._greeting: dict[Session, str] = {}
        """Connections that have not said Hello, TLS handshakes among them, with their addresses, oldest first."""
        self._handshakes: dict[Session, asyncio.Task[None]] = {}
        self._complaints = Complaints()
        self._door = Door(listen, self._accept)
        self._numbers = itertools.count(1)
        self._run_id = secrets.token_hex(4)

    # --- what sessions call -----------------------------------------------------------------------------
    @property
    def allowed(self) -> frozenset[str] | None:
        """Names of the edges that are let in; none: all with a certificate."""
        return self.access.allowed

    def complain(self, event: str, **what: object) -> None:
        """Log what any number of edges may cause at any rate, seldom."""
        self._complaints.say(event, **what)

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

    @property
    def greeting(self) -> int:
        """Connections that have not said Hello."""
        return len(self._greeting)

    async def start(self) -> Address:
        """Listen; return the address (with the port in use, if port 0 was asked for).

        Raises `ConfigurationError` when the address cannot be listened on.
        """
        return await self._door.open()

    def reload(self) -> None:
        """Read certificates and the list of edges again; who is no longer on the list is sent away."""
        self.access.reload()
        for session in [*self.sessions]:
            if self.allowed is not None and session.edge not in self.allowed and session.channel.is_open:
                log.warning("edge is no longer allowed", edge=session.edge)
                session.channel.send(Bye(reason="this edge is no longer allowed here"))

    async def stop(self) -> None:
        """Accept nobody new, tell the edges, answer what is here, close."""
        self._door.close()
        handshakes = [*self._handshakes.values()]
        for session in [*self._handshakes]:
            self._break_off(session)
        await asyncio.gather(*handshakes, return_exceptions=True)
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

    def _accept(self, connection: socket.socket, address: str) -> None:
        loser = loser_at_the_door(address, [*self._greeting.values()])
        if loser is not None:
            session, held = [*self._greeting.items()][loser]
            self._complaints.say("too many connections without a handshake, closing one", address=held)
            self._close(session)
        session = Session(self, f"{self._run_id}-{next(self._numbers)}")
        self._greeting[session] = address
        handshake = self.tasks.create_task(self._shake_hands(connection, session, address))
        handshake.add_done_callback(partial(self._shaken_hands, connection, session))
        self._handshakes[session] = handshake

    def _close(self, session: Session) -> None:
        """Close a connection that has not said Hello."""
        self._greeting.pop(session, None)
        self._break_off(session)
        session.channel.abort()

    def _break_off(self, session: Session) -> None:
        """Cancel a handshake; not one that has given the channel its connection, which is the channel's to end.

        uvloop closes a socket whose handshake is cancelled without a word to the protocol on it.
        """
        handshake = self._handshakes.get(session)
        if handshake is not None and not session.channel.is_connected:
            handshake.cancel()

    async def _shake_hands(self, connection: socket.socket, session: Session, address: str) -> None:
        identity = self.access.identity
        try:
            failed = await shake_hands(connection, session.channel, identity.context if identity else None)
        except (
            Exception
        ) as error:  # a bug, in the event loop's TLS perhaps: it ends this connection, not the daemon
            log.exception("handshake failed")
            session.channel.abort()
            connection.close()
            failed = f"{type(error).__name__}: {error}"
        if failed is not None:
            self._complaints.say("connection closed before its greeting", address=address, reason=failed)
            self._greeting.pop(session, None)

    def _shaken_hands(
        self, connection: socket.socket, session: Session, handshake: asyncio.Task[None]
    ) -> None:
        """Clean up after a handshake, here: one that is cancelled before its first step runs no code of its own."""
        self._handshakes.pop(session, None)
        if not session.channel.is_connected:
            session.channel.abandon()
        if handshake.cancelled():
            connection.close()
            self._greeting.pop(session, None)
