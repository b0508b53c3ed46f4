"""Many edges as one cheap process: they speak the protocol, and send the same prepared tensors again and again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import LinkError, LinkLostError
from common.plan import Cut, stages_of
from common.wire.connection import Received, Role
from common.wire.messages import (
    PROTOCOL,
    Answer,
    Busy,
    Failed,
    Hello,
    Infer,
    Prepare,
    Prepared,
    Refused,
    Welcome,
)
from common.wire.tensors import TensorEntry
from common.wire.transport import Channel
from models.model import Model

DEADLINE_MS = 60_000.0
BUSY_WAIT_S = 0.02


@dataclass(slots=True)
class Counts:
    """What one edge got while it was counted."""

    answers: int = 0
    busy: int = 0
    failed: int = 0
    batches: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    others_ms: list[float] = field(default_factory=list)


class LightEdge:
    """One edge in a closed loop: each answer lets it send its next frame, after `pause_s`."""

    def __init__(
        self, entries: tuple[TensorEntry, ...], chunks: Sequence[memoryview | bytes], pause_s: float = 0.0
    ) -> None:
        loop = asyncio.get_running_loop()
        self.channel = Channel(Role.EDGE, self)
        self.counts = Counts()
        self._entries, self._chunks = entries, chunks
        self._pause_s = pause_s
        self._welcome: asyncio.Future[None] = loop.create_future()
        self._prepared: asyncio.Future[None] = loop.create_future()
        self.lost: str | None = None
        """How the connection ended; none while it is there."""
        self._sent: dict[int, float] = {}
        self._frame = 0
        self._going = False

    async def connect(self, host: str, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self.channel, host, port)

    async def ready(self, model: Model, name: str, cut: Cut) -> None:
        """Greet, and have the cut prepared."""
        await self.greet(model, name)
        await self.prepare(model, cut)

    async def greet(self, model: Model, name: str) -> None:
        """Say Hello and wait for the cloud's Welcome. Raises `LinkLostError`."""
        fingerprint = model.fingerprint
        self.channel.send(
            Hello(
                protocol=PROTOCOL,
                edge=name,
                model=model.name,
                architecture=fingerprint.architecture,
                weights=fingerprint.weights,
                graph=fingerprint.graph,
            )
        )
        await self._welcome

    async def prepare(self, model: Model, cut: Cut) -> None:
        """Have the cut prepared. Raises `LinkLostError`."""
        stage, index = stages_of(cut, model.graph.sink)[1], model.graph.index
        self.channel.send(
            Prepare(
                epoch=1,
                units=tuple(index[unit] for unit in stage.units),
                inputs=tuple(index[unit] for unit in stage.inputs),
                outputs=tuple((index[output.unit], output.destination) for output in stage.outputs),
            )
        )
        await self._prepared

    def begin(self, in_flight: int) -> None:
        self._going = True
        for _ in range(in_flight):
            self._send()

    def end(self) -> None:
        """Send no more; what is on its way still comes back."""
        self._going = False

    @property
    def idle(self) -> bool:
        return not self._sent

    def _send(self) -> None:
        if not self._going or not self.channel.is_open:
            return
        self._frame += 1
        self._sent[self._frame] = time.perf_counter()
        infer = Infer(frame=self._frame, epoch=1, deadline_ms=DEADLINE_MS, tensors=self._entries)
        self.channel.send(infer, self._chunks)

    def _send_later(self) -> None:
        if self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._send)
        else:
            self._send()

    # --- what the channel calls -------------------------------------------------------------------------
    def heard(self, event: Received) -> None:
        match event.message:
            case Answer() as answer:
                self.counts.answers += 1
                self.counts.batches[answer.batch] += 1
                self.counts.others_ms.append(answer.others_ms)
                self.counts.latencies_s.append(time.perf_counter() - self._sent.pop(answer.frame))
                self._send_later()
            case Busy(frame=frame):
                self.counts.busy += 1
                self._sent.pop(frame)
                asyncio.get_running_loop().call_later(BUSY_WAIT_S, self._send)
            case Failed(frame=frame):
                self.counts.failed += 1
                self._sent.pop(frame)
                self._send_later()
            case Welcome():
                self._welcome.set_result(None)
            case Prepared(ready=ready, reason=reason):
                _settle(self._prepared, None if ready else LinkLostError(reason))
            case Refused(reason=reason):
                _settle(self._welcome, LinkLostError(reason))
            case _:
                pass

    def closed(self, error: LinkError | None) -> None:
        lost = error or LinkLostError("the cloud closed the connection")
        self.lost = str(lost)
        self.counts.failed += len(self._sent)  # nobody answers what was on its way
        self._sent.clear()
        for waiting in (self._welcome, self._prepared):
            if not waiting.done():
                waiting.set_exception(lost)
                waiting.exception()  # taken note of: nobody may have come to wait for it


def _settle(future: asyncio.Future[None], error: LinkError | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
