"""The HTTP server of a daemon: health, metrics, status and the page, from whatever view the daemon gives it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from common.complaints import Complaints
from common.config import OFF, Address
from common.json_text import to_json
from common.web.assets import load_assets, version_of
from common.web.connections import Connections
from common.web.event_stream import EventStream
from common.web.gate import MOST_TOKEN_CHARS, Gate, bearer_token
from common.web.view import Health, Starting, View

log = structlog.get_logger()

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "cleave",
}
"""Nothing runs that is not from our own files, nothing is shown within other pages, nothing is kept."""
OPEN_TO_ALL = ("/livez", "/readyz", "/token")
"""Paths that tell nothing of frames, for supervisors that hold no token, and where the token is given."""
COOKIE_S = 30 * 24 * 3600
WRONG_TOKEN_S = 1.0
"""Security: a wrong token is answered this late."""
MOST_BODY_BYTES = 2 * MOST_TOKEN_CHARS
BODY_S = 5.0
SHUTDOWN_S = 0.2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(
    daemon: Literal["edge", "cloud"], listen: Address | Literal["off"], token_file: Path | None, setting: str
) -> AsyncIterator[Callable[[View], None]]:
    """Serve a daemon's page while in the context, if `listen` does not turn it off; give what to show a view by.

    `setting` is the variable of `listen`. Raises `ConfigurationError` as `Gate.of` does.
    """
    if listen == OFF:
        yield lambda view: None
        return
    server = WebServer(daemon, Gate.of(daemon, listen, token_file, setting))
    async with server.listening(listen):
        yield server.show


class WebServer:
    """Serves one daemon's view; before there is one, that it is starting."""

    def __init__(self, daemon: Literal["edge", "cloud"], gate: Gate) -> None:
        self._gate = gate
        self._view: View = Starting(daemon)
        self._assets = load_assets("common.web", f"{daemon}_daemon")
        self._version = version_of(self._assets)
        self._complaints = Complaints()
        self._connections = Connections()
        self._events = EventStream(self._first, self._news)

    def show(self, view: View) -> None:
        """Serve this view from now on."""
        self._view = view
        self._events.begin_anew()

    @contextlib.asynccontextmanager
    async def listening(self, address: Address) -> AsyncIterator[Address | None]:
        """Serve on `address` while in the context; give the address in use.

        Where that is not possible (the port is in use) it is logged, and the daemon goes on without a page.
        """
        runner = web.AppRunner(
            self.application(), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        assert runner.server is not None
        server = runner.server
        listening: asyncio.Server | None = None
        events = asyncio.create_task(self._events.run())
        try:
            try:
                listening = await asyncio.get_running_loop().create_server(
                    lambda: self._connections.make(server), address.host, address.port
                )
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                log.error(
                    "no page, no metrics: the address cannot be listened on",
                    address=str(address),
                    reason=reason,
                )
                yield None
            else:
                port = listening.sockets[0].getsockname()[1]
                found = Address(host=address.host, port=port)
                log.info("page", url=f"http://{found}/", token="needed" if self._gate.token else "not needed")
                yield found
        finally:
            events.cancel()
            self._events.close()
            if listening is not None:
                listening.close()
            await runner.cleanup()
            self._connections.close()
            await asyncio.gather(events, return_exceptions=True)

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=MOST_BODY_BYTES)
        routes: Mapping[str, Handler] = {
            "/": self._page,
            "/assets/{name}": self._asset,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
            "/events": self._stream,
            "/frame.jpg": self._picture,
        }
        for path, handler in routes.items():
            application.router.add_get(path, handler)
        application.router.add_post("/token", self._take_token)
        return application

    # --- who is let in ----------------------------------------------------------------------------------
    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._connections.requested(request.protocol)
        refused = await self._refusal(request)
        try:
            response = refused if refused is not None else await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    async def _refusal(self, request: web.Request) -> web.Response | None:
        headers = request.headers
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and (
            headers.get("Sec-Fetch-Mode") != "navigate" or request.method != "GET"
        ):
            return _text(403, "this page does not answer to others' pages")
        if request.path in OPEN_TO_ALL or request.path.startswith("/assets/"):
            return None
        if self._gate.lets_in(
            host=headers.get("Host", ""),
            authorization=headers.get("Authorization", ""),
            cookie=request.cookies.get(self._gate.cookie_name, ""),
        ):
            return None
        if self._gate.token is None:
            return _text(
                421, "this page answers to localhost and 127.0.0.1 only; beyond this machine it needs a token"
            )
        if bearer_token(headers.get("Authorization", "")) is not None:
            await self._wrong_token(request)
        if request.path == "/":
            return self._file("token.html", status=401)
        response = _text(401, "a token is needed: Authorization: Bearer TOKEN")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _wrong_token(self, request: web.Request) -> None:
        """Say that a wrong token came, and have whoever tries tokens wait."""
        self._complaints.say("wrong token for the page", address=request.remote)
        await asyncio.sleep(WRONG_TOKEN_S)

    async def _take_token(self, request: web.Request) -> web.Response:
        """Give the page's cookie for the token."""
        try:
            async with asyncio.timeout(BODY_S):
                given = (await request.post()).get("token")
        except (TimeoutError, ValueError, LookupError):  # LookupError: in a charset that there is not
            return _text(400, "no token was sent")
        if not isinstance(given, str) or not self._gate.knows_token(given.strip()):
            await self._wrong_token(request)
            return self._file("token.html", status=401)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._gate.cookie_name,
            self._gate.cookie,
            max_age=COOKIE_S,
            httponly=True,
            samesite="Strict",
            secure=request.headers.get("X-Forwarded-Proto") == "https",
        )
        return response

    # --- what is served ---------------------------------------------------------------------------------
    async def _page(self, request: web.Request) -> web.Response:
        return self._file("page.html")

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._assets or name.endswith(".html"):
            raise web.HTTPNotFound(text="there is no such file\n")
        response = self._file(name)
        response.headers.update({"ETag": self._assets[name].tag, "Cache-Control": "no-cache"})
        if request.headers.get("If-None-Match") == self._assets[name].tag:
            return web.Response(status=304, headers=response.headers)
        return response

    async def _livez(self, request: web.Request) -> web.Response:
        return _health(self._view.alive())

    async def _readyz(self, request: web.Request) -> web.Response:
        return _health(self._view.ready())

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._view.refresh()
        view, registry = self._view, self._view.metrics(self._view.status())
        parts = await asyncio.to_thread(lambda: [generate_latest(one) for one in (registry, view.registry)])
        return web.Response(body=b"".join(parts), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, request: web.Request) -> web.Response:
        await self._view.refresh()
        return web.Response(text=to_json(self._view.status()), content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        await self._view.refresh()
        self._connections.streams(request.protocol)
        return await self._events.listen(request, HEADERS)

    async def _picture(self, request: web.Request) -> web.Response:
        number = request.query.get("frame", "")
        if number and not (number.isascii() and number.isdigit() and len(number) < 20):
            raise web.HTTPBadRequest(text="frame is not a number\n")
        picture = await self._view.picture(int(number) if number else None)
        if picture is None:
            raise web.HTTPNotFound(text="there is no such frame any more\n")
        return web.Response(body=picture, content_type="image/jpeg")

    def _first(self) -> dict[str, Any]:
        return {"version": self._version, "status": self._view.status(), **self._view.first()}

    def _news(self) -> dict[str, Any]:
        return {"status": self._view.status(), **self._view.news()}

    def _file(self, name: str, status: int = 200) -> web.Response:
        asset = self._assets[name]
        return web.Response(body=asset.body, status=status, content_type=asset.kind, charset="utf-8")


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")


def _health(health: Health) -> web.Response:
    return _text(200 if health.well else 503, health.says)
