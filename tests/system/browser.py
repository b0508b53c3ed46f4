"""Headless Chromium, driven over its DevTools protocol: a small client for tests and for pictures of pages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

START_S = 30.0
CALL_S = 20.0


def find_chromium() -> str | None:
    """Return the command that starts Chromium; none where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class PageError(AssertionError):
    """The browser could not do what was asked, or a script threw."""


class Page:
    """One page. `console` has its errors and warnings, `requests` the address of everything it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.console: list[str] = []
        self.requests: list[str] = []

    async def read(self) -> None:
        """Take what the browser says, until it is gone."""
        async for message in self._socket:
            said = json.loads(message.data)
            if (call := self._calls.pop(said.get("id", 0), None)) is not None and not call.done():
                call.set_result(said)
            self._note(said.get("method", ""), said.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.console.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.console.append(" ".join(str(one.get("value", one)) for one in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.console.append(f"{params['entry']['text']} ({params['entry'].get('url', '')})")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol. Raises `PageError` when the browser refuses."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(CALL_S):
            said = await answer
        if "error" in said:
            raise PageError(f"{method}: {said['error']['message']}")
        result: dict[str, Any] = said["result"]
        return result

    async def go(self, url: str) -> None:
        """Load a page and wait until all its files are there."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(CALL_S):
            await self._loaded.wait()

    async def value(self, script: str) -> Any:
        """Return what an expression is in the page, promises awaited. Raises `PageError` with what it throws."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise PageError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def until(self, script: str, timeout_s: float = CALL_S) -> Any:
        """Wait until an expression is true in the page, or in the one that takes its place, and return it.

        Raises `PageError` if it does not get so.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not (value := await self._value_unless_it_goes(script)):  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise PageError(f"not within {timeout_s:g} s: {script}; console: {self.console}") from None
        return value

    async def _value_unless_it_goes(self, script: str) -> Any:
        try:
            return await self.value(script)
        except PageError as error:
            if "navigated or closed" in str(error):  # amid the answer
                return None
            raise

    async def look(self, *, width: int, height: int = 900, scale: float = 1.0, dark: bool = False) -> None:
        """Show the page on a screen of that size, in pixels, in light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """Return the whole page as a PNG, also what a person would have to scroll to."""
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@contextlib.asynccontextmanager
async def page_in_chromium(directory: Path) -> AsyncIterator[Page]:
    """Start Chromium with a new profile in `directory`; give its first page."""
    command = find_chromium()
    assert command is not None, "chromium is not installed"
    profile = directory / "chromium"
    process = await asyncio.create_subprocess_exec(
        command,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0", "about:blank"),
        f"--user-data-dir={profile}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                address = next(t["webSocketDebuggerUrl"] for t in await answer.json() if t["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                reading = asyncio.create_task(page.read())
                try:
                    for domain in ("Page", "Runtime", "Network", "Log"):
                        await page.call(f"{domain}.enable")
                    yield page
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _port(file: Path, process: asyncio.subprocess.Process) -> int:
    """Return the port that the browser says it listens on."""
    async with asyncio.timeout(START_S):
        while not (said := _text_of(file)):
            if process.returncode is not None:
                raise PageError(f"chromium ended with status {process.returncode}")
            await asyncio.sleep(0.05)
    return int(said.split()[0])


def _text_of(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
