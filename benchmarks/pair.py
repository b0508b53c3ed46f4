"""A real cloud daemon and real edge daemons on this machine, as processes, for demos and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from benchmarks.json_lines import JsonLines

LOOK_S = 0.05


class DaemonError(RuntimeError):
    """A daemon ended, or did not do in time what it was started for; the message ends with its log."""


class Process(Protocol):
    """A process that was started, as `asyncio.subprocess.Process` is one."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, number: int, /) -> None: ...
    async def wait(self) -> int: ...


class Daemon:
    """One daemon process with its environment and log file. Use it as an async context manager.

    `prefix` is a command that runs another one, such as `ip netns exec NAME`.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str], log: Path, prefix: Sequence[str] = ()
    ) -> None:
        self._prefix = prefix
        self._module = module
        self._environment = environment
        self.log = log
        self._entries = JsonLines(log)
        self._process: Process | None = None

    @staticmethod
    async def spawn(
        prefix: Sequence[str], module: str, environment: Mapping[str, str], log: BinaryIO
    ) -> Process:
        """Start a daemon's module with nothing but `environment`, by way of the command `prefix`; it writes to `log`.

        It has a session of its own: Ctrl-C is for whoever runs the pair, who ends its daemons itself.
        """
        return await asyncio.create_subprocess_exec(
            *prefix, sys.executable, "-m", module,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CLEAVE_")}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._entries = JsonLines(self.log)
        with self.log.open("wb") as log:
            environment = {**inherited, "CLEAVE_LOG_FORMAT": "json", **self._environment}
            self._process = await self.spawn(self._prefix, self._module, environment, log)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, timeout_s: float = 5.0) -> int:
        """End the daemon with SIGINT, by force after `timeout_s`; return its exit status."""
        assert self._process is not None
        if self.running:
            self.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._process.wait()
            except TimeoutError:
                self.send_signal(signal.SIGKILL)
        return await self._process.wait()

    async def wait(self) -> int:
        """Wait for the daemon to end by itself; return its exit status."""
        assert self._process is not None
        return await self._process.wait()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log's entries of one event."""
        return [entry for entry in self._entries.read() if entry.get("event") == event]

    async def until(self, what: str, condition: Any, timeout_s: float) -> None:
        """Wait until `condition()` is true. Raises `DaemonError` when the daemon ends before, or time is up."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.running:
                raise DaemonError(f"{self._module} ended while waiting for {what}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise DaemonError(f"{self._module}: no {what} within {timeout_s:g} s:\n{self._tail()}")
            await asyncio.sleep(LOOK_S)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


class Cloud(Daemon):
    """A cloud daemon. `address` is where it listens."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "cloud",
        host: str = "127.0.0.1",
        port: int,
        prefix: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.address = (host, port)
        environment = {
            "CLEAVE_CLOUD_LISTEN": f"{host}:{port}",
            "CLEAVE_CLOUD_STATE_DIR": str(directory / name),
            "CLEAVE_CLOUD_HTTP": "off",  # several on one machine would want one port
            # Between network namespaces: another address, but nobody else's network.
            **({} if host.startswith("127.") else {"CLEAVE_CLOUD_INSECURE": "1"}),
            **{key: str(value) for key, value in settings.items()},
        }
        super().__init__("cloud_daemon", environment, directory / f"{name}.log", prefix)

    async def listening(self, timeout_s: float = 60.0) -> None:
        await self.until("listening", lambda: self.logged("listening for edges"), timeout_s)


class Edge(Daemon):
    """An edge daemon with an inbox of its own; frames are put there by `offer`."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "edge",
        cloud: tuple[str, int],
        prefix: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.inbox = directory / f"{name}-inbox"
        self.results = directory / f"{name}.jsonl"
        self._records = JsonLines(self.results)
        self.state = directory / name
        self.inbox.mkdir(parents=True, exist_ok=True)
        environment = {
            "CLEAVE_EDGE_SOURCE": str(self.inbox),
            "CLEAVE_EDGE_RESULTS": str(self.results),
            "CLEAVE_EDGE_STATE_DIR": str(self.state),
            "CLEAVE_EDGE_CLOUD": f"{cloud[0]}:{cloud[1]}",
            "CLEAVE_EDGE_HTTP": "off",
            **{key: str(value) for key, value in settings.items()},
        }
        super().__init__("edge_daemon", environment, directory / f"{name}.log", prefix)

    def offer(self, frames: list[Path]) -> None:
        """Put frames into the inbox, each by a rename, so that it is there whole or not at all."""
        for frame in frames:
            scratch = self.inbox / f".{frame.name}"
            scratch.write_bytes(frame.read_bytes())
            os.utime(scratch, ns=(frame.stat().st_atime_ns, frame.stat().st_mtime_ns))
            scratch.rename(self.inbox / frame.name)

    def records(self) -> list[dict[str, Any]]:
        return self._records.read()

    def status(self) -> dict[str, Any]:
        """Return the edge's status; empty before it has one."""
        try:
            document: dict[str, Any] = json.loads((self.state / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return document

    @property
    def cut(self) -> str | None:
        """The label of the cut that frames run under now; none before there is one."""
        label: str | None = self.status().get("plan", {}).get("cut")
        return label

    async def answered(self, count: int, timeout_s: float) -> None:
        await self.until(f"{count} records", lambda: len(self.records()) >= count, timeout_s)

    async def planned(self, timeout_s: float) -> None:
        """Wait until the edge has both profiles and runs under a plan made with them."""

        def ready() -> bool:
            status = self.status()
            return bool(status.get("profiled")) and status["plan"]["mode"] not in ("starting", "pinned")

        await self.until("plan", ready, timeout_s)

    async def measured(self, timeout_s: float) -> None:
        """Wait until the edge has measured the cuts that it may choose from, after it has `planned`."""
        await self.until("cuts measured", lambda: self.status().get("cuts_to_measure") == 0, timeout_s)


def free_port() -> int:
    """Return a TCP port that nobody listens on, on any loopback address."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port: int = probe.getsockname()[1]
        return port
