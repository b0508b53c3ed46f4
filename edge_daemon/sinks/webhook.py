"""The webhook: batches of records posted to a URL, signed, each until the receiver has it or refuses it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

import aiohttp
import structlog

from common.errors import ConfigurationError
from common.limits import KIB
from edge_daemon.sinks.addresses import WebhookAddress, shown_host
from edge_daemon.sinks.messages import batch_body, batch_id
from edge_daemon.sinks.outbox import Outbox
from edge_daemon.sinks.retry import Again, Delivered, Refused, Verdict, judge, next_batch_size, next_delay_s
from edge_daemon.sinks.secret_files import read_secret, read_url, trust
from edge_daemon.sinks.signature import HEADER, sign
from edge_daemon.sinks.spool import Batch

log = structlog.get_logger()

MOST_BATCH_BYTES = 512 * KIB
MOST_SAID_BYTES = 200
"""Of a receiver's answer that is no success, so much is read and told."""
CONNECT_S = 10.0
ANSWER_S = 30.0
"""A receiver that takes longer for a batch, from connecting to its answer, is away."""
REFUSED_PAUSE_S = 1.0
"""After a record is refused: one that refuses everything shall not empty the spool in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """Where to, how it is signed (none: not at all), whose certificates are trusted, and how records are gathered."""

    address: WebhookAddress
    secret: Path | None
    ca: Path | None
    edge: str
    most: int
    wait_s: float


class Webhook:
    """Posts what is in its outbox. Raises `ConfigurationError` when it cannot be begun with these options."""

    def __init__(
        self,
        options: WebhookOptions,
        outbox: Outbox,
        *,
        rng: random.Random | None = None,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self.outbox = outbox
        self._rng = rng or random.Random()
        self._time_of_day = time_of_day
        self._context: SSLContext = trust(options.ca, "CLEAVE_EDGE_WEBHOOK_CA")
        url, secret = self._read()
        if url.startswith("http:"):
            log.warning("webhook: INSECURE, records travel in the clear", receiver=shown_host(url))
        if secret is None:
            log.warning(
                "webhook: batches are not signed (CLEAVE_EDGE_WEBHOOK_SECRET)", receiver=shown_host(url)
            )

    def tell(self, status: Mapping[str, Any], /) -> None:
        """A webhook is told of records only."""

    async def run(self) -> None:
        """Deliver until cancelled."""
        size = self._options.most
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context, limit=1),
            timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as session:
            while True:
                batch = await self.outbox.next(size, MOST_BATCH_BYTES, self._options.wait_s)
                verdict = await self._deliver(session, batch)
                count = len(batch.messages)
                if isinstance(verdict, Refused) and count == 1:
                    await self.outbox.refused(batch, verdict.reason)
                    await asyncio.sleep(REFUSED_PAUSE_S)
                elif isinstance(verdict, Delivered):
                    await self.outbox.sent(batch)
                size = next_batch_size(size, count, self._options.most, verdict)

    async def _deliver(self, session: aiohttp.ClientSession, batch: Batch) -> Verdict:
        """Post a batch, the same again and again, until it is delivered or refused."""
        body, key = batch_body(batch.messages, self._options.edge), batch_id(batch.messages)
        attempt = 0
        while True:
            attempt += 1
            verdict = await self._post(session, body, key, attempt)
            if not isinstance(verdict, Again):
                self.outbox.reached()
                return verdict
            self.outbox.away(verdict.reason)
            await asyncio.sleep(verdict.after_s)

    async def _post(self, session: aiohttp.ClientSession, body: bytes, key: str, attempt: int) -> Verdict:
        try:
            url, secret = await self.outbox.disk.run(self._read)
            async with session.post(
                url, data=body, headers=self._headers(body, key, secret), allow_redirects=False
            ) as answer:
                said = "" if answer.ok else _shown(await answer.content.read(MOST_SAID_BYTES))
                return judge(answer.status, answer.headers, said, attempt, self._rng)
        except (aiohttp.ClientError, OSError, ConfigurationError) as error:
            return Again(next_delay_s(attempt, self._rng), _reason(error))

    def _headers(self, body: bytes, key: str, secret: bytes | None) -> Mapping[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "cleave-edge",
            "Idempotency-Key": key,
        }
        if secret is not None:
            headers[HEADER] = sign(secret, int(self._time_of_day()), body)
        return headers

    def _read(self) -> tuple[str, bytes | None]:
        """Read what is in files, anew for each try: both may be changed at any time."""
        secret = self._options.secret
        return read_url(self._options.address), read_secret(secret) if secret is not None else None


def _shown(said: bytes) -> str:
    return " ".join(said.decode(errors="replace").split())


def _reason(error: Exception) -> str:
    """Say what went wrong, without the URL, which may be a secret."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection instead of answering"
    if isinstance(error, ConfigurationError):
        return str(error)
    return f"{type(error).__name__}"
