"""A cloud server with the tiny model in the test's own loop, and edges that speak to it on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from cloud_daemon.access import Access
from cloud_daemon.frame_runner import FrameRunner
from cloud_daemon.server import CloudServer
from cloud_daemon.tail import TailPool
from common import limits
from common.config import Address
from common.errors import LinkError
from common.graph import TensorSpec
from common.plan import Cut, stages_of
from common.wire.connection import Received, Role
from common.wire.messages import (
    PROTOCOL,
    Answer,
    Hello,
    Infer,
    MeasureRequest,
    Message,
    Pong,
    Prepare,
    Prepared,
    Welcome,
)
from common.wire.receive_ledger import ReceiveLedger
from common.wire.tensors import TensorEntry
from common.wire.transport import Channel
from models.compute import ComputeThread
from models.crossing import from_wire, to_wire
from models.executor import TorchExecutor
from models.model import Model
from models.preprocess import as_frame
from tests.event_loop import until
from tests.tiny_model import tiny_model

MODEL = tiny_model()
GRAPH = MODEL.graph
SPLIT = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["add"]])
"""Two tensors cross."""

OWN_PINGS = 1_000_000
"""The channel's own pings, one a second, have higher numbers, and their answers are no test's concern."""

Heard = TypeVar("Heard", bound=Message)


def hello(**changes: Any) -> Hello:
    fingerprint = MODEL.fingerprint
    fields: dict[str, Any] = {
        "protocol": PROTOCOL,
        "edge": "porch",
        "model": "tiny",
        "architecture": fingerprint.architecture,
        "weights": fingerprint.weights,
        "graph": fingerprint.graph,
    }
    return Hello(**(fields | changes))


def whole(frame: bytes) -> torch.Tensor:
    """The unsplit model's answer."""
    compiled = TorchExecutor().compile(MODEL.segment(GRAPH.names, [GRAPH.sink]))
    return compiled.run({GRAPH.source: as_frame(frame)})[GRAPH.sink]


def crossing(cut: Cut, frame: bytes) -> dict[str, torch.Tensor]:
    """The tensors that a cut sends for a frame."""
    if cut.edge_units == (GRAPH.source,):
        return {GRAPH.source: as_frame(frame)}
    compiled = TorchExecutor().compile(MODEL.segment(cut.edge_units, cut.crossing))
    return compiled.run({GRAPH.source: as_frame(frame)})


def _stage(cut: Cut) -> dict[str, Any]:
    stage = stages_of(cut, GRAPH.sink)[1]
    index = GRAPH.index
    return {
        "units": tuple(index[name] for name in stage.units),
        "inputs": tuple(index[name] for name in stage.inputs),
        "outputs": tuple((index[output.unit], output.destination) for output in stage.outputs),
    }


def prepare(cut: Cut, epoch: int) -> Prepare:
    return Prepare(epoch=epoch, **_stage(cut))


def measure(cut: Cut, number: int = 1) -> MeasureRequest:
    return MeasureRequest(number=number, **_stage(cut))


class Edge:
    """One connection to the server, from the edge's side."""

    def __init__(self) -> None:
        self.channel = Channel(Role.EDGE, self)
        self.channel.connection._pings = OWN_PINGS
        self.events: asyncio.Queue[Received] = asyncio.Queue()
        self.ended: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()

    def heard(self, event: Received) -> None:
        if not (isinstance(event.message, Pong) and event.message.number > OWN_PINGS):
            self.events.put_nowait(event)

    def closed(self, error: LinkError | None) -> None:
        self.ended.set_result(error)

    def say(self, message: Message, *chunks: memoryview | bytes) -> None:
        self.channel.send(message, chunks)

    async def event(self, kind: type[Message]) -> Received:
        event = await self.events.get()
        assert type(event.message) is kind, event.message
        return event

    async def hears(self, kind: type[Heard]) -> Heard:
        """The next message, which must be of type `kind`."""
        message = (await self.event(kind)).message
        assert isinstance(message, kind)
        return message

    async def prepares(self, cut: Cut = SPLIT, epoch: int = 1) -> Prepared:
        self.say(prepare(cut, epoch))
        return await self.hears(Prepared)

    def infers(
        self,
        frame: int,
        tensors: Mapping[str, torch.Tensor],
        epoch: int = 1,
        deadline_ms: float = 20_000.0,
        **changes: Any,
    ) -> None:
        entries, chunks = to_wire(GRAPH, tensors)
        fields: dict[str, Any] = {
            "frame": frame,
            "epoch": epoch,
            "deadline_ms": deadline_ms,
            "tensors": entries,
        }
        self.say(Infer(**(fields | changes)), *chunks)

    async def answer(self) -> tuple[Answer, torch.Tensor]:
        """The next message, which must be an answer, with its tensor."""
        event = await self.event(Answer)
        assert isinstance(event.message, Answer)
        return event.message, from_wire(GRAPH, event.message.tensors, event.payload)[GRAPH.sink]


@dataclass
class Cloud:
    server: CloudServer
    pool: TailPool
    address: Address
    edges: list[Edge]

    async def connect(self) -> Edge:
        """Open a connection, without a greeting."""
        edge = Edge()
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: edge.channel, self.address.host, self.address.port)
        self.edges.append(edge)
        return edge

    async def greeted(self, **changes: Any) -> Edge:
        edge = await self.connect()
        edge.say(hello(**changes))
        await edge.hears(Welcome)
        return edge


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def cloud(
    state_dir: Path,
    *others: Model,
    batch_max: int = 4,
    executor: TorchExecutor | None = None,
    access: Access | None = None,
    ledger: ReceiveLedger | None = None,
) -> AsyncIterator[Cloud]:
    """Serve the tiny model; at the end the server and all edges are gone, and so are their tasks."""
    frames = FrameRunner(ComputeThread("tail"), batch_max=batch_max, batch_wait_s=0.0)
    executor = executor or TorchExecutor()
    pool, *more = (TailPool(model, executor, state_dir, frames) for model in (MODEL, *others))
    try:
        async with asyncio.TaskGroup() as tasks:
            address = Address(host="127.0.0.1", port=0)
            server = CloudServer(
                "rack",
                address,
                [pool, *more],
                frames,
                free_port(),
                tasks,
                access,
                ledger or ReceiveLedger(1024 * limits.MIB, executor.receive_buffers()),
            )
            running = Cloud(server, pool, await server.start(), [])
            yield running
            await server.stop()
            for edge in running.edges:
                edge.channel.abort()
            await until(lambda: all(edge.ended.done() for edge in running.edges))
            await until(lambda: not server.sessions and not server._greeting)
        await until(lambda: frames.held == 0)  # every place in the queue is given back
        assert server.tally.in_flight == 0, "every frame that came has its outcome"
    finally:
        frames.compute.stop(timeout_s=1.0)
        for each in (pool, *more):
            if each.beside is not None:
                each.beside.stop(timeout_s=1.0)


def entry(unit: str, dtype: str, shape: tuple[int, ...]) -> TensorEntry:
    """One tensor's entry, with the size that follows from its type and shape."""
    return TensorEntry(GRAPH.index[unit], dtype, shape, TensorSpec(dtype, shape).nbytes)


class Blocked:
    """Holds the cloud's compute thread until released."""

    def __init__(self, rack: Cloud) -> None:
        self._held = threading.Event()
        self._gate = threading.Event()
        self._job = asyncio.ensure_future(rack.pool.compute.run(self._hold))

    def _hold(self) -> None:
        self._held.set()
        self._gate.wait(25.0)

    async def __aenter__(self) -> None:
        await until(self._held.is_set)

    async def __aexit__(self, *_: object) -> None:
        self._gate.set()
        await self._job
