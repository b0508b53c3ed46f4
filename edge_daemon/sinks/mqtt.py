"""MQTT: each record a message with QoS 1, the edge's status retained, its end told by the broker.

connect ─► online, discovery ─► records, up to 16 unconfirmed ─► PUBACKs ─► confirmed in the spool
   ▲                                                                │
   └──────────────── back-off ◄── the connection is lost ◄──────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from common.errors import ConfigurationError
from common.limits import KIB
from edge_daemon.sinks.addresses import MqttAddress
from edge_daemon.sinks.messages import payload_of
from edge_daemon.sinks.mqtt_topics import OFFLINE, ONLINE, EdgeState, Topics, discovery
from edge_daemon.sinks.outbox import Outbox
from edge_daemon.sinks.retry import HEALTHY_S, next_delay_s
from edge_daemon.sinks.secret_files import read_login, trust

try:
    import aiomqtt
except ImportError as error:
    raise ConfigurationError(
        "CLEAVE_EDGE_MQTT needs the package aiomqtt, which is not installed: `make setup` or `make install-edge` "
        "bring it, or pip install aiomqtt"
    ) from error

log = structlog.get_logger()

SILENT = logging.getLogger("edge_daemon.sinks.mqtt.client")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
"""The client would log each loss of the connection; the outbox says it once."""

WINDOW = 16
"""Messages on their way to the broker at a time: a round trip for so many, and no burst that frames would notice."""
MOST_WINDOW_BYTES = 512 * KIB
CATCH_UP_SHARE = 0.25
"""Of the event loop's time, catching up after an outage takes no more than this: frames are answered there, too."""
ANSWER_S = 10.0
"""A broker that confirms nothing for so long is gone."""
LOOK_S = 5.0
"""Somebody who listens is found within this."""
CONNECT_S = 30.0
"""From there to the broker's consent, TLS included, which the client does on a thread with limits of its own."""
RECONNECT_MOST_S = 10.0
"""A broker that is back is found within this."""
KEEPALIVE_S = 20
"""The broker says `offline` for an edge it has not heard of for one and a half times this."""
LEAVE_S = 1.0
"""For saying `offline` and taking leave."""
STATE_S = 10.0
"""How often the state is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions:
    """The broker, how to log in, whose certificates are trusted, and under which names. Without `discovery`: none."""

    address: MqttAddress
    login: Path | None
    ca: Path | None
    edge: str
    model: str
    discovery: str


class Mqtt:
    """Publishes what is in its outbox. Raises `ConfigurationError` when it cannot be begun with these options."""

    def __init__(
        self,
        options: MqttOptions,
        outbox: Outbox,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self.outbox = outbox
        self._rng = rng or random.Random()
        self._clock = clock
        self._topics = Topics(options.address.prefix, options.edge)
        self._status: Mapping[str, Any] = {}
        self._context = trust(options.ca, "CLEAVE_EDGE_MQTT_CA") if options.address.tls else None
        if options.login is not None:
            read_login(options.login)
        if not options.address.tls:
            log.warning(
                "mqtt: INSECURE, records and the login travel in the clear", broker=str(options.address)
            )

    def tell(self, status: Mapping[str, Any], /) -> None:
        """Take the edge's status, for the state topic."""
        self._status = status

    async def run(self) -> None:
        """Deliver until cancelled."""
        attempt = 0
        while True:
            began = self._clock()
            try:
                async with self._connection() as (client, lost):
                    await self._serve(client, lost)
            except* (aiomqtt.MqttError, OSError, ConfigurationError) as group:
                self.outbox.away(_reason(group))
            attempt = 1 if self._clock() - began >= HEALTHY_S else attempt + 1
            await asyncio.sleep(next_delay_s(attempt, self._rng, RECONNECT_MOST_S))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[aiomqtt.Client, asyncio.Task[None]]]:
        """A connection, and the task that fails when it is lost; at its end the edge is said to be offline."""
        address, options = self._options.address, self._options
        login = await self.outbox.disk.run(read_login, options.login) if options.login is not None else None
        await _answers(address.host, address.port)
        client = aiomqtt.Client(
            address.host,
            address.port,
            identifier=self._topics.client_id,
            username=login.user if login else None,
            password=login.password if login else None,
            tls_context=self._context,
            will=aiomqtt.Will(self._topics.status, OFFLINE, qos=1, retain=True),
            keepalive=KEEPALIVE_S,
            timeout=math.inf,  # its limits (`asyncio.wait_for`, before Python 3.12) now and then eat a cancellation
            max_inflight_messages=WINDOW,
            logger=SILENT,
        )
        client.pending_calls_threshold = WINDOW + 4
        async with asyncio.timeout(CONNECT_S):
            await client.__aenter__()
        lost = asyncio.create_task(_lost(client))
        try:
            yield client, lost
        finally:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                await _publish(client, self._topics.status, OFFLINE, retain=True, limit_s=LEAVE_S)
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await client.__aexit__(None, None, None)
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    async def _serve(self, client: aiomqtt.Client, lost: asyncio.Task[None]) -> None:
        """Say that the edge is there, and deliver until the connection is lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_until(lost))
            await _publish(client, self._topics.status, ONLINE, retain=True)
            if self._options.discovery:
                for topic, payload in discovery(self._options.discovery, self._topics, self._options.model):
                    await _publish(client, topic, payload, retain=True)
            self.outbox.reached()
            group.create_task(self._deliver(client))
            group.create_task(self._tell_state(client))

    async def _deliver(self, client: aiomqtt.Client) -> None:
        while True:
            batch = await self.outbox.next(WINDOW, MOST_WINDOW_BYTES)
            began = self._clock()
            async with asyncio.TaskGroup() as group:
                for message in batch.messages:
                    payload = payload_of(message, self._options.edge)
                    group.create_task(_publish(client, self._topics.result, payload))
                    await asyncio.sleep(0)  # it is on its way, in this order; others have a turn
                took_s = self._clock() - began
            await self.outbox.sent(batch)
            if len(batch.messages) == WINDOW:
                await asyncio.sleep(took_s * (1 / CATCH_UP_SHARE - 1))

    async def _tell_state(self, client: aiomqtt.Client) -> None:
        fps = 0.0
        while True:
            status = self.outbox.status()
            state = EdgeState.of(self._status, fps, status.spooled_records, status.dropped)
            await _publish(client, self._topics.state, state.to_json(), retain=True)
            before, at = self.outbox.came, self._clock()
            await asyncio.sleep(STATE_S)
            fps = (self.outbox.came - before) / (self._clock() - at)


async def _publish(
    client: aiomqtt.Client,
    topic: str,
    payload: str | bytes,
    *,
    retain: bool = False,
    limit_s: float | None = None,
) -> None:
    """Publish, and return once the broker has confirmed it. Raises `MqttError`, `TimeoutError`."""
    async with asyncio.timeout(ANSWER_S if limit_s is None else limit_s):
        await client.publish(topic, payload, qos=1, retain=retain)


async def _lost(client: aiomqtt.Client) -> None:
    """Wait for the connection's end. Raises `MqttError` then; publishing itself would wait until its time is up."""
    async for _ in client.messages:
        pass


async def _until(lost: asyncio.Task[None]) -> None:
    await asyncio.shield(lost)


async def _answers(host: str, port: int) -> None:
    """Return once somebody listens there. Raises `OSError`.

    The client connects on a thread that nobody can cancel, and the process could not end meanwhile; so it is asked
    only when there is somebody to connect to.
    """
    async with asyncio.timeout(LOOK_S):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _reason(group: BaseExceptionGroup[Exception]) -> str:
    """Say what the first of the errors was."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return f"cannot connect: {error.strerror or error}"
    return str(error) or type(error).__name__
