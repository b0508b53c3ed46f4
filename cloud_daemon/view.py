"""What the cloud shows of itself: its parts' state gathered into one status."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from cloud_daemon.config import CloudSettings
from cloud_daemon.metrics import READINGS, CloudMetrics
from cloud_daemon.server import CloudServer
from cloud_daemon.session import Session
from cloud_daemon.status import CloudState, EdgeAtCloud, ServedModel, status_document
from common import limits
from common.config import Address
from common.number_ring import NumberRing
from common.rate import Rate
from common.tls.identity import tls_status
from common.web.machine import Machine
from common.web.metric_table import registry_of
from common.web.view import Health
from common.wire.receive_ledger import ReceiveLedger
from models.compute import Patience
from models.executor import TorchExecutor
from models.watchdog import alive

LOAD_S = 10.0
"""The load is that of so long a time."""
GPU_LOOK_S = 5.0
POINTS = 900
"""Points of the page's curves: a quarter of an hour, at one a second."""


class CloudView:
    """Reads the cloud's parts when it is asked to; until then it only notes each answered frame."""

    def __init__(
        self, settings: CloudSettings, server: CloudServer, executor: TorchExecutor, ledger: ReceiveLedger
    ) -> None:
        self._settings = settings
        self._server = server
        self._executor = executor
        self._ledger = ledger
        self._metrics = CloudMetrics()
        self._machine = Machine()
        self._answered = Rate(time.monotonic())
        self._busy: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)])
        self._gpu: dict[str, int] | None = None
        self._gpu_due = 0.0
        self._points = NumberRing(4, POINTS)
        self.address: Address | None = None
        """Where edges connect, once they can."""
        server.tally.observers += [self._metrics.saw, lambda _: self._answered.note(time.monotonic())]

    # --- what the server of the page asks ---------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        return status_document(self._state(time.time(), time.monotonic()))

    def alive(self) -> Health:
        return alive(self._server.frames.compute, self._settings.hung_after_s)

    def ready(self) -> Health:
        """Say whether edges can connect: every model has run a whole inference by then."""
        if self.address is None:
            return Health(False, "edges cannot connect")
        return Health(True, "ready")

    async def refresh(self) -> None:
        self._ask_gpu(time.monotonic())
        await self._machine.refresh()

    async def picture(self, frame: int | None) -> bytes | None:
        return None  # frames are the edges'

    @property
    def registry(self) -> CollectorRegistry:
        return self._metrics.registry

    def metrics(self, status: Mapping[str, Any]) -> CollectorRegistry:
        self._metrics.count()
        return registry_of(READINGS, status)

    def first(self) -> dict[str, Any]:
        return {"points": [_point(row) for row in self._points], "now": time.time()}

    def news(self) -> dict[str, Any]:
        self.note_point()
        latest = self._points.latest
        return {"points": [_point(latest)] if latest is not None else [], "now": time.time()}

    # --- what it gathers --------------------------------------------------------------------------------
    def note_point(self) -> None:
        """Add (Unix second, load, frames waiting, answers a second) to what the page's curves show of the past."""
        now, clock = time.time(), time.monotonic()
        latest = self._points.latest
        if latest is None or latest[0] != int(now):
            waiting, answered = self._server.frames.waiting, self._answered.per_second(clock)
            self._points.append(int(now), round(self._load(clock), 3), waiting, round(answered, 2))

    def _load(self, clock: float) -> float:
        """Share of the last seconds for which frames were computed."""
        busy_s = self._server.frames.busy_s
        self._busy.append((clock, busy_s))
        while len(self._busy) > 2 and self._busy[1][0] <= clock - LOAD_S:
            self._busy.popleft()
        since, before_s = self._busy[0]
        return min((busy_s - before_s) / (clock - since), 1.0) if clock - since > 0.1 else 0.0

    def _ask_gpu(self, clock: float) -> None:
        """Have the compute thread look at the GPU's memory: nobody else may speak to the device."""
        if clock < self._gpu_due:
            return
        self._gpu_due = clock + GPU_LOOK_S
        self._server.frames.compute.submit(self._look_at_gpu, patience=Patience.MEASURE)

    def _look_at_gpu(self) -> None:
        memory = self._executor.device_memory()
        self._gpu = {"free_bytes": memory[0], "total_bytes": memory[1]} if memory is not None else None

    def _state(self, now: float, clock: float) -> CloudState:
        server = self._server
        return CloudState(
            written_at=now,
            name=server.name,
            listen=str(self.address) if self.address is not None else None,
            channel=server.access.description,
            tls=tls_status(server.access.identity, now),
            models=[
                ServedModel(
                    name=pool.model.name,
                    weights=pool.model.weights,
                    units=len(pool.model.graph),
                    device=pool.executor.device_description,
                    executor=pool.executor.name,
                )
                for pool in server.pools.values()
            ],
            edges=[edge_at(session, clock) for session in server.sessions],
            greeting=server.greeting,
            waiting=server.frames.waiting,
            held=server.frames.held,
            places=limits.MAX_CLOUD_QUEUE,
            load=self._load(clock),
            busy_s=server.frames.busy_s,
            answered_per_s=self._answered.per_second(clock),
            batch_max=server.frames.batch_max,
            tally=server.tally,
            receive_held=self._ledger.held_bytes,
            receive_limit=self._ledger.limit_bytes,
            receive_refused=self._ledger.refused,
            gpu=self._gpu,
            process=self._machine.status(),
        )


def edge_at(session: Session, clock: float) -> EdgeAtCloud:
    """Return what is known of a connected edge."""
    return EdgeAtCloud(
        session=session.number,
        name=session.edge,
        address=session.channel.peer,
        tls=session.channel.peer_certificate is not None,
        model=session.model,
        since=session.served.since,
        answered=session.served.answered,
        per_second=session.served.rate.per_second(clock),
        in_flight=session.in_flight,
    )


def _point(row: tuple[float, ...]) -> tuple[int, float, int, float]:
    at, load, waiting, answered = row
    return int(at), load, int(waiting), answered
