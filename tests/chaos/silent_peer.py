"""An edge that has shaken hands, sends frames and pings, and reads as told: all, nothing, or a byte a second."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from common.plan import Cut, stages_of
from common.wire import framing
from common.wire.connection import Connection, Role
from common.wire.messages import PROTOCOL, Hello, Infer, Message, Ping, Prepare, Prepared
from common.wire.tensors import TensorEntry
from models.model import Model

PIECE_BYTES = 256 * 1024
PINGS_EACH_S = 0.5
AGAIN_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the peer asks for: a stage to have ready, frames for it, and how often."""

    prepare: Prepare
    entries: tuple[TensorEntry, ...]
    chunks: Sequence[memoryview | bytes]
    frames_each_s: float
    answer_bytes: int
    """The tensors of an answer."""
    window_bytes: int | None = None
    """Of the socket's receive buffer, where not the system's own."""

    @property
    def frame_bytes(self) -> int:
        return sum(memoryview(chunk).nbytes for chunk in self.chunks)


def tail_of(model: Model, cut: Cut) -> Prepare:
    """Return the request for a cut's part in the cloud."""
    stage, index = stages_of(cut, model.graph.sink)[1], model.graph.index
    return Prepare(
        epoch=1,
        units=tuple(index[unit] for unit in stage.units),
        inputs=tuple(index[unit] for unit in stage.inputs),
        outputs=tuple((index[output.unit], output.destination) for output in stage.outputs),
    )


def decoder_of(model: Model) -> Prepare:
    """Return the request for a stage that hands decoded images back: the largest answers there are."""
    index = model.graph.index
    frame, decode = index[model.graph.source], index["decode"]
    return Prepare(epoch=1, units=(decode,), inputs=(frame,), outputs=((decode, "edge"),))


class SilentPeer:
    """One connection of it; one that the cloud closes is made anew. Run `run` as a task, cancel it at the end."""

    def __init__(self, address: tuple[str, int], model: Model, name: str, load: Load) -> None:
        self.reading = "all"
        self.cut_off = 0
        self.ready = asyncio.Event()
        self._address = address
        self._load = load
        fingerprint = model.fingerprint
        self._hello = Hello(
            protocol=PROTOCOL,
            edge=name,
            model=model.name,
            architecture=fingerprint.architecture,
            weights=fingerprint.weights,
            graph=fingerprint.graph,
        )

    async def run(self) -> None:
        """Connect, ask, and read or not, until cancelled."""
        while True:
            with socket.socket() as sock:
                sock.setblocking(False)
                if self._load.window_bytes is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._load.window_bytes)
                with contextlib.suppress(OSError):  # the cloud has cut us off
                    await self._stay(sock)
            self.cut_off += self.ready.is_set()
            await asyncio.sleep(AGAIN_S)

    async def _stay(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, self._address)
        await self._greet(sock)
        self.ready.set()
        tasks = [asyncio.create_task(work(sock)) for work in (self._speak, self._read)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:  # whichever ends first: the connection is gone
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _greet(self, sock: socket.socket) -> None:
        loop, connection = asyncio.get_running_loop(), Connection(Role.EDGE, 0.0)
        for message in (self._hello, self._load.prepare):
            await loop.sock_sendall(sock, framing.pack(message, 0))
        heard: list[Message] = []
        connection.send(self._hello)
        while not any(isinstance(message, Prepared) for message in heard):
            data = await loop.sock_recv(sock, PIECE_BYTES)
            if not data:
                raise ConnectionResetError
            heard += [event.message for event in connection.feed(data, 0.0)]

    async def _speak(self, sock: socket.socket) -> None:
        """Send frames, and pings between them."""
        loop = asyncio.get_running_loop()
        payload = b"".join(self._load.chunks)
        pings_due = 0.0
        for number in itertools.count(1):
            infer = Infer(frame=number, epoch=1, deadline_ms=5_000.0, tensors=self._load.entries)
            said = framing.pack(infer, len(payload)) + payload
            if loop.time() >= pings_due:
                said += framing.pack(Ping(number=number), 0)
                pings_due = loop.time() + PINGS_EACH_S
            await loop.sock_sendall(sock, said)
            await asyncio.sleep(1.0 / self._load.frames_each_s)

    async def _read(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            match self.reading:
                case "all":
                    if not await loop.sock_recv(sock, PIECE_BYTES):
                        return
                case "byte":
                    if not await loop.sock_recv(sock, 1):
                        return
                    await asyncio.sleep(1.0)
                case _:
                    await asyncio.sleep(0.1)
