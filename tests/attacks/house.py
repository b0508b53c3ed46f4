"""A real cloud server on loopback, a well-behaved edge that it serves all the while, and somebody who attacks it.

    good edge ══ Infer, Answer, Infer, Answer … ══► CloudServer ◄══ any bytes at all ══ Attacker

What an attack may cost is looked at when it is over: the good edge's answers were right and went on, and the server
holds what it held before.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import structlog
import torch

from common import limits
from common.wire.connection import Connection, Role
from common.wire.framing import MAGIC, PREFIX
from common.wire.messages import Message, Welcome
from tests.cloud_daemon.edge import SPLIT, Cloud, Edge, cloud, crossing, hello, whole
from tests.common.wire.samples import packed
from tests.event_loop import until
from tests.tiny_model import jpeg

ROOM = 24 * limits.MIB
"""What the process may have grown by: libraries keep buffers, and what they free is not all given back."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a server holds, beside the good edge's own."""

    sessions: int
    greeting: int
    frames: int
    tasks: int
    descriptors: int


@dataclass
class House:
    """The server under attack, and the edge that must not notice."""

    rack: Cloud
    good: Edge
    log: list[structlog.typing.EventDict]
    answered: int = 0
    _stop: bool = False
    _attackers: list[Attacker] = field(default_factory=list)

    async def attacker(self, *, greeted: bool = True, name: str = "mallory") -> Attacker:
        """Connect somebody who means no good; `greeted`: after a handshake as any edge's."""
        reader, writer = await asyncio.open_connection(self.rack.address.host, self.rack.address.port)
        attacker = Attacker(reader, writer, Connection(Role.EDGE, 0.0))
        self._attackers.append(attacker)
        if greeted:
            attacker.sends(packed(hello(edge=name)))
            assert isinstance(await attacker.hears(), Welcome)
        return attacker

    @property
    def last_word(self) -> structlog.typing.EventDict:
        """The newest line about a connection. What measuring has to say comes in between, when it has time to."""
        return [entry for entry in self.log if "peer" in entry or "address" in entry][-1]

    async def serves_on(self, frames: int = 2) -> None:
        """Wait until the good edge has had so many more answers."""
        wanted = self.answered + frames
        await until(lambda: self.answered >= wanted)

    def ledger(self) -> Ledger:
        server = self.rack.server
        return Ledger(
            sessions=len(server.sessions),
            greeting=len(server._greeting),
            frames=max(0, self.rack.pool.frames.held - 1),  # the good edge's own may be there
            tasks=len(asyncio.all_tasks()),
            descriptors=len(os.listdir("/proc/self/fd")),
        )

    async def _be_served(self) -> None:
        frames = [(crossing(SPLIT, jpeg(i)), whole(jpeg(i))) for i in range(3)]
        for number in itertools.count():
            if self._stop:
                return
            tensors, right = frames[number % len(frames)]
            self.good.infers(number, tensors)
            answer, tensor = await self.good.answer()
            assert answer.frame == number
            torch.testing.assert_close(tensor, right, rtol=1e-4, atol=1e-6)  # as batches may differ
            self.answered += 1
            await asyncio.sleep(0.001)


@dataclass
class Attacker:
    """A raw socket that says what it likes, and reads with the edge's own connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: Connection
    heard: list[Message] = field(default_factory=list)

    def sends(self, data: bytes) -> None:
        self.writer.write(data)

    def says(self, message: Message, payload: bytes = b"") -> None:
        self.sends(packed(message, payload))

    async def hears(self) -> Message:
        """The server's next message."""
        while not self.heard:
            data = await self.reader.read(65_536)
            assert data, "the server closed the connection"
            self.heard += [event.message for event in self.connection.feed(data, 0.0)]
        return self.heard.pop(0)

    async def is_cut_off(self) -> list[Message]:
        """Wait until the server has closed the connection; return what it said before."""
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65_536):
                self.heard += [event.message for event in self.connection.feed(data, 0.0)]
        self.writer.close()
        return self.heard

    def leave(self) -> None:
        transport = self.writer.transport
        transport.abort()


@contextlib.asynccontextmanager
async def house(state_dir: Path) -> AsyncIterator[House]:
    """Run a server that serves a good edge; at the end it has gone on, and the server holds what it held before."""
    async with cloud(state_dir) as rack:
        with structlog.testing.capture_logs() as log:
            good = await rack.greeted(edge="good")
            assert (await good.prepares()).ready
            under = House(rack, good, log)
            being_served = asyncio.create_task(under._be_served())
            await under.serves_on()
            before, resident = under.ledger(), resident_bytes()
            files = files_in(state_dir)
            yield under
            await under.serves_on()
            for attacker in under._attackers:
                attacker.leave()
            under._attackers.clear()
            await until(lambda: under.ledger() == before or being_served.done())
            under._stop = True
            await being_served
            if resident_bytes() - resident > ROOM:
                gc.collect()  # a tenth of a second where torch is loaded
            assert resident_bytes() - resident <= ROOM
            assert files_in(state_dir) == files
            assert_one_short_line_each(log)


def assert_one_short_line_each(log: list[structlog.typing.EventDict]) -> None:
    """Nothing that was logged could be taken for another line, or fill a disk."""
    for event in log:
        for value in event.values():
            text = str(value)
            assert text.isprintable(), event
            assert len(text) <= 1_000, event


def files_in(directory: Path) -> list[str]:
    """Every file's and directory's name below a directory."""
    return sorted(path.name for path in directory.rglob("*"))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def wire(
    code: int, header: bytes | dict[str, object], payload: bytes = b"", announced: int | None = None
) -> bytes:
    """Any message at all, valid or not."""
    data = header if isinstance(header, bytes) else msgpack.packb(header)
    size = len(payload) if announced is None else announced
    return PREFIX.pack(MAGIC, code, 0, len(data), size) + data + payload
