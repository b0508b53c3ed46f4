"""A real broker on loopback, and somebody who listens to it. mosquitto is Debian's package of that name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from benchmarks.pair import free_port

BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(
    BROKER is None, reason="mosquitto is not installed: apt-get install mosquitto"
)


class Broker:
    """mosquitto as a child process. It keeps nothing on disk unless `lines`, added to its configuration, say so."""

    def __init__(self, directory: Path, lines: Iterable[str] = ("allow_anonymous true",)) -> None:
        self.port = free_port()
        self._config = directory / f"mosquitto-{self.port}.conf"
        self._log = self._config.with_suffix(".log")
        # As root it would become a user that cannot read a test's files.
        own = [f"listener {self.port} 127.0.0.1", "user root"]
        self._config.write_text("\n".join([*own, *lines]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. It listens once `listening` returns."""
        assert BROKER is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [BROKER, "-c", str(self._config)], stdout=log, stderr=log, start_new_session=True
            )

    async def listening(self) -> None:
        for _ in range(400):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            await asyncio.sleep(0.02)
        raise TimeoutError(self._log.read_text())

    def stop(self) -> None:
        """End it by SIGTERM, so that it keeps what it is to keep."""
        self.send(signal.SIGTERM)
        if self._process is not None:
            self._process.wait(10)
        self._process = None

    def kill(self) -> None:
        """End it by SIGKILL: no goodbye to anybody."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@asynccontextmanager
async def broker(directory: Path, *lines: str) -> AsyncIterator[Broker]:
    made = Broker(directory, lines or ("allow_anonymous true",))
    made.start()
    try:
        await made.listening()
        yield made
    finally:
        made.send(signal.SIGCONT)
        made.kill()


@dataclass
class Listener:
    """What came on the topics that are listened to, in order, each with when it came (`time.monotonic`)."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    listening: asyncio.Event = field(default_factory=asyncio.Event)

    def on(self, topic: str) -> list[bytes]:
        return [payload for at, payload in self.messages if at == topic]

    def last(self, topic: str) -> Any:
        """The last message on a topic, as JSON if it is some."""
        payload = self.on(topic)[-1:]
        if not payload:
            return None
        with contextlib.suppress(ValueError):
            return json.loads(payload[0])
        return payload[0].decode()


@asynccontextmanager
async def listener(port: int, topic: str = "#", **options: Any) -> AsyncIterator[Listener]:
    """Listen until the end of the block; when the broker goes, listen again as soon as it is back."""
    heard = Listener()

    async def listen() -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client("127.0.0.1", port, keepalive=5, timeout=5, **options) as client:
                    await client.subscribe(topic, qos=1)
                    heard.listening.set()
                    async for message in client.messages:
                        heard.messages.append((str(message.topic), bytes(message.payload)))
                        heard.times.append(time.monotonic())
            heard.listening.clear()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(listen())
    try:
        await heard.listening.wait()
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
