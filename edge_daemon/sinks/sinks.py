"""All sinks of one edge: made from the settings, given each record that is safe, ended within a moment.

ResultsWriter ──committed()──► Outbox mqtt ───► Mqtt          a task each, and a thread for its disk;
                           └─► Outbox webhook ► Webhook       none knows of another
pipeline ──saw()──► AnnotatedFrames
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import structlog

from common.limits import MIB
from edge_daemon.config import EdgeSettings
from edge_daemon.results import FrameRecord
from edge_daemon.results_file import ResultsTarget
from edge_daemon.sinks.annotated import AnnotatedFrames
from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.outbox import Outbox, SinkStatus
from edge_daemon.sinks.results_history import ResultsHistory
from edge_daemon.sinks.secret_files import read_login, read_secret, read_url, trust
from edge_daemon.sinks.spool import Spool, SpoolBound

log = structlog.get_logger()

AFTER_BUG_S = 10.0
CLOSE_S = 1.0
"""For writing down how far each sink has come."""


def check_sinks(settings: EdgeSettings) -> None:
    """Raise `ConfigurationError` for what sinks need and cannot have: before a model is loaded, which takes long."""
    if settings.mqtt is not None:
        import edge_daemon.sinks.mqtt  # noqa: F401 (says so when its package is missing)
    if settings.mqtt_login is not None:
        read_login(settings.mqtt_login)
    if settings.webhook is not None:
        read_url(settings.webhook)
    if settings.webhook_secret is not None:
        read_secret(settings.webhook_secret)
    for ca, name in (
        (settings.mqtt_ca, "CLEAVE_EDGE_MQTT_CA"),
        (settings.webhook_ca, "CLEAVE_EDGE_WEBHOOK_CA"),
    ):
        if ca is not None:
            trust(ca, name)


class Sender(Protocol):
    """What sends the messages of an outbox, until it is cancelled."""

    outbox: Outbox

    async def run(self) -> None: ...
    def tell(self, status: Mapping[str, Any], /) -> None: ...


class Sinks:
    """The sinks that the settings ask for; perhaps none. Raises `ConfigurationError` for one that cannot be."""

    def __init__(self, settings: EdgeSettings, edge: str, model: str, target: ResultsTarget) -> None:
        self._settings = settings
        self._target = target
        self._senders: list[Sender] = []
        self._annotated: AnnotatedFrames | None = None
        if settings.mqtt is not None:
            self._senders.append(self._mqtt(edge, model))
        if settings.webhook is not None:
            self._senders.append(self._webhook(edge))
        if settings.annotated is not None:
            self._annotated = AnnotatedFrames(
                settings.annotated, keep=settings.annotated_keep, fps=settings.annotated_fps
            )
        if self._senders and target.path is None:
            log.warning(
                "sinks: results are no file, so what a kill catches on its way to a spool is not sent",
                results=target.name,
            )

    def _mqtt(self, edge: str, model: str) -> Sender:
        from edge_daemon.sinks.mqtt import Mqtt, MqttOptions

        settings = self._settings
        assert settings.mqtt is not None
        options = MqttOptions(
            address=settings.mqtt,
            login=settings.mqtt_login,
            ca=settings.mqtt_ca,
            edge=edge,
            model=model,
            discovery="" if settings.mqtt_discovery == "off" else settings.mqtt_discovery.strip("/"),
        )
        return Mqtt(options, self._outbox("mqtt"))

    def _webhook(self, edge: str) -> Sender:
        from edge_daemon.sinks.webhook import Webhook, WebhookOptions

        settings = self._settings
        assert settings.webhook is not None
        options = WebhookOptions(
            address=settings.webhook,
            secret=settings.webhook_secret,
            ca=settings.webhook_ca,
            edge=edge,
            most=settings.webhook_batch,
            wait_s=settings.webhook_wait_s,
        )
        return Webhook(options, self._outbox("webhook"))

    def _outbox(self, name: str) -> Outbox:
        bound = SpoolBound(int(self._settings.spool_mb * MIB), self._settings.spool_records)
        directory = self._settings.state_dir / "spool" / name
        spool = Spool(directory, bound, synced=self._target.path is None)
        return Outbox(name, spool, ResultsHistory(self._target.path))

    # --- what they are told -----------------------------------------------------------------------------
    def committed(self, lines: Sequence[bytes]) -> None:
        """Take lines of the results that are safe now."""
        if self._senders:
            messages = [Message.of(line.removesuffix(b"\n")) for line in lines]
            for sender in self._senders:
                sender.outbox.take(messages)

    def saw(self, record: FrameRecord) -> None:
        """Take a record with its frame, to be drawn perhaps."""
        if self._annotated is not None:
            self._annotated.offer(record)

    def tell(self, status: Mapping[str, Any]) -> None:
        """Take the edge's status."""
        for sender in self._senders:
            sender.tell(status)

    def status(self) -> list[dict[str, Any]]:
        """Return how each sink is, for the status; nothing in it is secret."""
        return [asdict(one) for one in self.statuses()]

    def statuses(self) -> list[SinkStatus]:
        return [sender.outbox.status() for sender in self._senders]

    # --- their life -------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Deliver until cancelled; then say goodbye to receivers, and write down what was not sent."""
        async with asyncio.TaskGroup() as group:
            for sender in self._senders:
                group.create_task(self._attend(sender))

    async def drain(self, timeout_s: float) -> None:
        """Wait until receivers that are there have everything, but no longer than `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for sender in self._senders:
                    await sender.outbox.emptied()

    def stop(self, timeout_s: float) -> None:
        """End what draws frames."""
        if self._annotated is not None:
            self._annotated.stop(timeout_s)

    async def _attend(self, sender: Sender) -> None:
        """Keep one sink going. What goes wrong in it ends neither other sinks nor frames."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(sender.outbox.run())
                while True:
                    try:
                        await sender.run()
                    except Exception as bug:
                        log.exception("sink failed; it begins again", sink=sender.outbox.name)
                        sender.outbox.away(f"a bug: {type(bug).__name__}")
                        await asyncio.sleep(AFTER_BUG_S)
        except Exception:
            log.exception("sink failed for good; its records are in the results", sink=sender.outbox.name)
        finally:
            await sender.outbox.close(CLOSE_S)
