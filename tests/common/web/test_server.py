"""Facts about what a daemon serves, and to whom."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from common.config import Address
from common.errors import ConfigurationError
from common.web import server as module
from common.web.gate import Gate
from common.web.server import WebServer, serving
from common.web.view import Health
from tests.common.web.visit import HERE, TOKEN, Exhibit, read_event, visit
from tests.event_loop import run, until

PRIVATE = ("/", "/status", "/metrics", "/events", "/frame.jpg")


def test_what_is_served() -> None:
    """The page, its files, the status, the metrics of both kinds, the picture."""

    async def main() -> None:
        async with visit(Exhibit(pictures={None: b"newest", 7: b"seventh"})) as at:
            status, text, headers = await at.get("/")
            assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            assert "<title>Cleave edge</title>" in text
            assert json.loads((await at.get("/status"))[1]) == at.view.state
            metrics = (await at.get("/metrics"))[1]
            assert "x_frames 3.0" in metrics
            assert "x_events_total 5.0" in metrics
            assert (await at.get("/frame.jpg"))[:2] == (200, "newest")
            assert (await at.get("/frame.jpg?frame=7"))[:2] == (200, "seventh")
            assert (await at.get("/frame.jpg?frame=8"))[0] == 404
            for strange in ("-1", "1.5", "x", "٣", "1" * 30):
                assert (await at.get(f"/frame.jpg?frame={strange}"))[0] == 400

    run(main())


def test_health_is_told_by_the_status_code() -> None:
    """And the reason is in the text."""

    async def main() -> None:
        async with visit() as at:
            assert (await at.get("/livez"))[:2] == (200, "alive\n")
            assert (await at.get("/readyz"))[:2] == (200, "ready\n")
            at.view.health = Health(False, "a computation has run for 61 s")
            at.view.readiness = Health(False, "no inference yet")
            assert (await at.get("/livez"))[:2] == (503, "a computation has run for 61 s\n")
            assert (await at.get("/readyz"))[:2] == (503, "no inference yet\n")

    run(main())


def test_a_daemon_that_starts_is_alive_and_not_ready() -> None:
    """While the model is loaded all paths answer already."""

    async def main() -> None:
        async with visit(shown=False) as at:
            assert (await at.get("/livez"))[0] == 200
            assert (await at.get("/readyz"))[:2] == (503, "the model is being loaded\n")
            assert json.loads((await at.get("/status"))[1]) == {"state": "starting"}
            assert "cleave_edge_process_resident_memory_bytes" in (await at.get("/metrics"))[1]
            assert (await at.get("/frame.jpg"))[0] == 404

    run(main())


def test_health_is_answered_while_the_processor_is_busy() -> None:
    """A thread that computes without end leaves the loop its turns."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(10_000))

    async def main() -> None:
        worker = threading.Thread(target=compute)
        worker.start()
        try:
            async with visit() as at:
                for _ in range(20):
                    assert (await at.get("/livez"))[0] == 200
        finally:
            over.set()
            worker.join()

    run(main())


def test_every_answer_forbids_what_a_page_does_not_need() -> None:
    """Scripts of others, frames of others, guessing of types, keeping of pictures; errors, too."""

    async def main() -> None:
        async with visit() as at:
            for path in (
                "/",
                "/status",
                "/livez",
                "/assets/page.css",
                "/nowhere",
                "/frame.jpg",
                "/assets/nothing",
            ):
                _, _, headers = await at.get(path)
                policy = headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self';"), path
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert "Access-Control-Allow-Origin" not in headers
                assert "aiohttp" not in headers["Server"]
                assert headers["Cache-Control"] == ("no-cache" if path == "/assets/page.css" else "no-store")

    run(main())


def test_files_are_asked_for_once() -> None:
    """A browser that has a file's present version is told so; no path leads elsewhere."""

    async def main() -> None:
        async with visit() as at:
            status, _, headers = await at.get("/assets/live.js")
            assert (status, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
            assert (await at.get("/assets/live.js", If_None_Match=headers["ETag"]))[:2] == (304, "")
            for path in (
                "/assets/page.html",
                "/assets/..%2f..%2fserver.py",
                "/assets/%2e%2e/server.py",
                "/assets/",
            ):
                assert (await at.get(path))[0] == 404, path

    run(main())


def test_a_foreign_name_is_not_answered() -> None:
    """Who comes to this machine by a name that is not this machine's alone sees nothing but health."""

    async def main() -> None:
        async with visit() as at:
            for path in PRIVATE:
                status, text, _ = await at.get(path, Host="evil.example:7480")
                assert (status, "localhost" in text) == (421, True)
            assert (await at.get("/livez", Host="10.0.0.5:7480"))[0] == 200
            assert (await at.get("/status", Host="localhost:7480"))[0] == 200

    run(main())


def test_other_pages_cannot_use_this_one() -> None:
    """A browser says where a request comes from; only being linked to is allowed."""

    async def main() -> None:
        async with visit() as at:
            for site in ("cross-site", "same-site"):
                for path in ("/events", "/status", "/frame.jpg"):
                    told = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "no-cors"}
                    assert (await at.get(path, **told))[0] == 403
            told = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
            assert (await at.get("/", **told))[0] == 200
            assert (await at.get("/events", Sec_Fetch_Site="same-origin", Host="evil.example"))[0] == 421

    run(main())


def test_with_a_token_nothing_is_seen_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page asks for it; a program is told how to give it; health stays open."""
    monkeypatch.setattr(module, "WRONG_TOKEN_S", 0.0)

    async def main() -> None:
        async with visit(token=TOKEN) as at:
            for path in PRIVATE:
                status, text, headers = await at.get(path)
                assert status == 401, path
                assert ("needs its token" in text) is (path == "/")
                assert (headers.get("WWW-Authenticate") == "Bearer") is (path != "/")
            assert (await at.get("/readyz"))[0] == 200
            assert (await at.get("/status", Authorization=f"Bearer {TOKEN}"))[0] == 200
            assert (await at.get("/status", Authorization=f"Bearer {TOKEN}", Host="camera.local"))[0] == 200
            assert (await at.get("/status", Authorization="Bearer wrong-wrong-wrong"))[0] == 401

    run(main())


def test_the_page_asks_for_the_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right one is answered with a cookie that scripts and other sites never get; a wrong one is logged."""
    monkeypatch.setattr(module, "WRONG_TOKEN_S", 0.05)

    async def main() -> None:
        async with visit(token=TOKEN) as at:
            with capture_logs() as logged:
                for _ in range(3):
                    async with at.client.post(at.url("/token"), data={"token": "wrong"}) as answer:
                        assert answer.status == 401
                        assert "Set-Cookie" not in answer.headers
            (line,) = [entry for entry in logged if entry["event"] == "wrong token for the page"]
            assert TOKEN not in str(line)
            given = {"token": f" {TOKEN}\n"}
            async with at.client.post(at.url("/token"), data=given, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (303, "/")
                cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
            sent = cookie.partition(";")[0]
            assert (await at.get("/", Cookie=sent))[0] == 200
            assert (await at.get("/status", Cookie=sent[:-1] + "x"))[0] == 401

    run(main())


def test_a_program_that_tries_tokens_waits_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the page: each is answered late, and one is told; none at all, and the right one, cost no time."""
    monkeypatch.setattr(module, "WRONG_TOKEN_S", 17.0)
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def main() -> None:
        async with visit(token=TOKEN) as at:
            monkeypatch.setattr(asyncio, "sleep", note)
            with capture_logs() as logged:
                for number, path in enumerate(PRIVATE, 1):
                    assert (await at.get(path))[0] == 401
                    assert (await at.get("/status", Authorization=f"Bearer {TOKEN}"))[0] == 200
                    status, text, _ = await at.get(path, Authorization="Bearer wrong-wrong-wrong")
                    assert status == 401
                    assert ("needs its token" in text) is (path == "/")
                    assert slept.count(17.0) == number
            (line,) = [entry for entry in logged if entry["event"] == "wrong token for the page"]
            assert line["address"] == "127.0.0.1"
            assert "wrong-wrong-wrong" not in str(line)

    run(main())


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /status HTTP/1.1\r\nAuthorization: Bearer \xff\xfe",
        b"GET /status HTTP/1.1\r\nCookie: cleave-edge=\xff",
        b"POST /token HTTP/1.1\r\nContent-Length: 9\r\nContent-Type: application/x-www-form-urlencoded",
        b"POST /token HTTP/1.1\r\nContent-Length: 9\r\n"
        b"Content-Type: application/x-www-form-urlencoded; charset=no-such",
    ],
    ids=["token", "cookie", "form", "charset"],
)
def test_bytes_that_are_no_text_are_a_wrong_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    """And no error of ours: strangers cause no traceback."""
    monkeypatch.setattr(module, "WRONG_TOKEN_S", 0.0)

    async def main() -> None:
        async with visit(token=TOKEN) as at:
            reader, writer = await asyncio.open_connection(at.address.host, at.address.port)
            body = b"token=\xff\xff\xff" if b"POST" in request_ else b""
            writer.write(request_ + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n" + body)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert answer.split()[1] in (b"400", b"401"), answer

    run(main())
    assert "Traceback" not in caplog.text


def test_a_form_that_is_no_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long, none at all, a file in its place."""
    monkeypatch.setattr(module, "WRONG_TOKEN_S", 0.0)

    async def main() -> None:
        async with visit(token=TOKEN) as at:
            form = aiohttp.FormData()
            form.add_field("token", b"x" * 10, filename="token")
            for data, status in (({"token": "x" * 10_000}, 413), (form, 401), ({"other": "1"}, 401)):
                async with at.client.post(at.url("/token"), data=data) as answer:
                    assert answer.status == status

    run(main())


def test_a_page_hears_the_first_and_then_the_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """All in JSON that browsers read; a new view begins the stream anew."""

    async def main() -> None:
        view = Exhibit(state={"state": "running", "fps": float("inf"), "name": "a\nb"})
        async with visit(view) as at, at.client.get(at.url("/events")) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            kind, data = await read_event(answer.content)
            first = json.loads(data)
            assert (kind, first["past"], first["status"]["fps"]) == ("first", [1, 2], None)
            kind, data = await read_event(answer.content)
            assert (kind, json.loads(data)["status"]["name"]) == ("news", "a\nb")
            at.server.show(Exhibit(state={"state": "another"}))
            kind, data = await read_event(answer.content)
            assert (kind, json.loads(data)["status"]) == ("first", {"state": "another"})

    run(main())


def test_nothing_is_made_while_nobody_looks() -> None:
    """A view is asked for nothing between two visits."""

    async def main() -> None:
        async with visit() as at:
            async with at.client.get(at.url("/events")) as answer:
                await read_event(answer.content)
            await until(lambda: at.server._events.listeners == 0)
            asked = len(at.view.asked)
            await asyncio.sleep(1.3)
            assert len(at.view.asked) == asked

    run(main())


def test_a_port_in_use_costs_the_page_and_nothing_else() -> None:
    """It is said once, with the address and the reason; the daemon goes on."""

    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = Address(host="127.0.0.1", port=taken.getsockname()[1])
            with capture_logs() as logged:
                async with serving("edge", address, None, "CLEAVE_EDGE_HTTP") as show:
                    show(Exhibit())
        (line,) = logged
        assert line["event"] == "no page, no metrics: the address cannot be listened on"
        assert (line["address"], line["log_level"]) == (str(address), "error")
        assert "in use" in line["reason"]

    run(main())


def test_it_can_be_off_and_is_refused_in_the_open(tmp_path: Path) -> None:
    """`off` listens nowhere; beyond this machine without a token nothing is begun."""

    async def main() -> None:
        with capture_logs() as logged:
            async with serving("edge", "off", None, "CLEAVE_EDGE_HTTP") as show:
                show(Exhibit())
        assert logged == []
        with pytest.raises(ConfigurationError, match="without CLEAVE_EDGE_HTTP_TOKEN"):
            async with serving("edge", Address(host="0.0.0.0", port=0), None, "CLEAVE_EDGE_HTTP"):
                pass

    run(main())


def test_garbage_harms_nobody_else() -> None:
    """What is no HTTP is answered with an error or not at all; others are served meanwhile, nothing hangs."""
    garbage = (
        b"\x16\x03\x01\x02\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"\r\n" * 50,
        b"",
    )

    async def main() -> None:
        async with visit() as at:
            for data in garbage:
                reader, writer = await asyncio.open_connection(at.address.host, at.address.port)
                writer.write(data)
                writer.write_eof()
                await reader.read()
                writer.close()
                await writer.wait_closed()
            assert (await at.get("/livez"))[0] == 200

    run(main())


def test_a_failing_view_is_an_error_of_one_request(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in what is shown reaches neither the daemon nor other requests, and tells nothing of itself."""

    class Broken(Exhibit):
        def status(self) -> dict[str, object]:
            raise ZeroDivisionError("a secret path")

    async def main() -> None:
        async with visit(Broken()) as at:
            status, text, _ = await at.get("/status")
            assert (status, "secret" in text) == (500, False)
            assert (await at.get("/events"))[0] == 500
            assert (await at.get("/livez"))[0] == 200

    run(main())


def test_it_ends_soon_with_streams_open() -> None:
    """A daemon that stops waits for no page."""

    async def main() -> None:
        server = WebServer("edge", Gate("edge"))
        async with aiohttp.ClientSession() as client:
            async with server.listening(HERE) as address:
                server.show(Exhibit())
                answer = await client.get(f"http://{address}/events")
                await read_event(answer.content)
                began = time.monotonic()
            assert time.monotonic() - began < 5
            answer.close()

    run(main())
