"""Facts about the webhook, with a real HTTP server: batches, signatures, and receivers that do wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edge_daemon.sinks import retry
from edge_daemon.sinks import webhook as module
from edge_daemon.sinks.addresses import WebhookAddress
from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.outbox import Outbox
from edge_daemon.sinks.sinks import Sender
from edge_daemon.sinks.webhook import Webhook, WebhookOptions
from tests.certificates import authority, contexts, files
from tests.edge_daemon.records import line
from tests.edge_daemon.sinks.boxes import delivering, outbox
from tests.edge_daemon.sinks.receiver import Receiver, receiver, saying, taken
from tests.event_loop import LOOPS, run, until

SECRET = "0123456789abcdef-a-secret"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.01)
    monkeypatch.setattr(retry, "MOST_S", 0.02)
    monkeypatch.setattr(module, "REFUSED_PAUSE_S", 0.01)


def records(*numbers: int) -> list[Message]:
    return [Message.of(line(number).rstrip()) for number in numbers]


def webhook(url: str, directory: Path, **changes: Any) -> Callable[[], Sender]:
    secret = directory / "secret"
    secret.write_text(SECRET + "\n")
    options: dict[str, Any] = {
        "address": WebhookAddress.parse(url),
        "secret": secret,
        "ca": None,
        "edge": "porch",
        "most": 50,
        "wait_s": 0.05,
    }
    made = WebhookOptions(**(options | changes))
    return lambda: Webhook(made, outbox(directory), rng=random.Random(1), time_of_day=lambda: 1_700_000_000.7)


async def all_sent(box: Outbox, count: int) -> None:
    await until(lambda: box.status().sent == count and box.status().spooled_records == 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_records_come_in_batches_in_order_signed(tmp_path: Path, loop: str) -> None:
    """On either event loop. The signature is as docs/sinks.md says, and ids tell records and batches."""

    async def main() -> None:
        async with receiver() as there, delivering(webhook(there.url, tmp_path)) as sink:
            sink.outbox.take(records(*range(120)))
            await all_sent(sink.outbox, 120)
            assert there.frames == list(range(120))
            assert [len(there.batch(number)) for number in range(3)] == [50, 50, 20]
            headers, body = there.requests[0]
            expected = hmac.new(SECRET.encode(), b"1700000000." + body, hashlib.sha256).hexdigest()
            assert headers["Cleave-Signature"] == f"t=1700000000,v1={expected}"
            assert headers["Content-Type"] == "application/json"
            first = there.batch(0)[0]
            assert (first["id"], first["edge"]) == (records(0)[0].id, "porch")
            assert json.loads(body)["edge"] == "porch"
            assert len({headers["Idempotency-Key"] for headers, _ in there.requests}) == 3

    run(main(), loop)


def test_a_batch_waits_for_others_no_longer_than_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single record is sent when its time is up; a batch that is full, by records or by bytes, at once."""

    async def main() -> None:
        async with receiver() as there, delivering(webhook(there.url, tmp_path, most=5, wait_s=0.2)) as sink:
            sink.outbox.take(records(0))
            await asyncio.sleep(0)
            sink.outbox.take(records(1))
            await all_sent(sink.outbox, 2)
            assert len(there.requests) == 1
        async with receiver() as there, delivering(webhook(there.url, tmp_path, most=5, wait_s=3600)) as sink:
            sink.outbox.take(records(*range(10)))
            await all_sent(sink.outbox, 10)
        monkeypatch.setattr(module, "MOST_BATCH_BYTES", 5 * len(line(0)))
        async with receiver() as there, delivering(webhook(there.url, tmp_path, wait_s=3600)) as sink:
            sink.outbox.take(records(*range(10, 20)))
            await until(lambda: 10 in there.frames)

    run(main())


@pytest.mark.parametrize("status", [500, 503, 429, 408, 401, 403, 404, 410])
def test_what_may_pass_is_tried_again_with_the_same_key(tmp_path: Path, status: int) -> None:
    """Also what only somebody can mend: no record is given up for a wrong password."""

    async def main() -> None:
        wrong = saying(status, "not now")
        async with (
            receiver(wrong, wrong, taken) as there,
            delivering(webhook(there.url, tmp_path)) as sink,
        ):
            sink.outbox.take(records(0, 1))
            await until(lambda: there.asked >= 2)
            await all_sent(sink.outbox, 2)
            assert len({headers["Idempotency-Key"] for headers, _ in there.requests}) == 1
            assert sink.outbox.status().refused == 0

    run(main())


def test_retry_after_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver's word counts where it is longer than our own patience."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def main() -> None:
        busy = saying(503, Retry_After="17")
        async with receiver(busy, taken) as there, delivering(webhook(there.url, tmp_path)) as sink:
            monkeypatch.setattr(asyncio, "sleep", note)
            sink.outbox.take(records(0))
            while sink.outbox.status().sent != 1:
                await sleep(0.002)
            assert 17 in slept

    run(main())


def test_one_record_that_is_refused_does_not_take_others_with_it(tmp_path: Path) -> None:
    """Halves find it; it is dropped, counted and said; all others arrive, in order."""
    good: list[int] = []

    async def picky(there: Receiver, _: web.Request) -> web.StreamResponse:
        frames = [one["frame"] for one in there.batch(-1)]
        if 13 in frames:
            return web.Response(status=400, text="13 is no number")
        good.extend(frames)
        return web.Response()

    async def main() -> None:
        async with receiver(picky) as there, delivering(webhook(there.url, tmp_path)) as sink:
            sink.outbox.take(records(*range(40)))
            await all_sent(sink.outbox, 39)
            assert good == [number for number in range(40) if number != 13]
            assert sink.outbox.status().refused == 1
            assert len(there.requests) < 25, "not one by one"

    run(main())


def test_a_redirection_is_not_followed(tmp_path: Path) -> None:
    """A signed batch goes nowhere but where it was meant to; it waits, and the reason is told."""

    async def main() -> None:
        async with receiver() as elsewhere:
            moved = saying(307, Location=elsewhere.url)
            async with receiver(moved) as there, delivering(webhook(there.url, tmp_path)) as sink:
                sink.outbox.take(records(0))
                await until(lambda: there.asked >= 3)
                assert elsewhere.requests == []
                assert "redirects" in (sink.outbox.status().last_error or "")
                assert sink.outbox.status().spooled_records == 1

    run(main())


async def hang(_: Receiver, request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def cut(_: Receiver, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(_: Receiver, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    request.transport.close()
    return web.Response()


async def garbage(_: Receiver, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\0\xff not HTTP at all\r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    "wrong", [hang, cut, half, garbage], ids=["hangs", "cuts", "half an answer", "garbage"]
)
def test_a_receiver_that_does_wrong_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Any
) -> None:
    """It hangs, cuts the line, answers by half or with garbage: the same batch again, and no word of the URL."""
    monkeypatch.setattr(module, "ANSWER_S", 0.3)

    async def main() -> None:
        async with receiver(wrong, taken) as there, delivering(webhook(there.url, tmp_path)) as sink:
            sink.outbox.take(records(0, 1))
            await all_sent(sink.outbox, 2)
            assert there.requests[0][1] == there.requests[1][1]

    run(main())


def test_an_answer_without_end_is_not_read_on(tmp_path: Path) -> None:
    """Of an error's text a few words are read, and told."""

    async def endless(_: Receiver, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"and another thing " * 1000)
        except (ConnectionError, RuntimeError):
            return response

    async def main() -> None:
        async with receiver(endless, taken) as there, delivering(webhook(there.url, tmp_path)) as sink:
            sink.outbox.take(records(0))
            await all_sent(sink.outbox, 1)

    run(main())


def test_nothing_that_is_told_shows_the_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Often its path is the secret: neither log nor status has it, nor the secret that signs."""

    async def main() -> None:
        async with receiver() as there:
            url = there.url + "/path-token"
        file = tmp_path / "url"
        file.write_text(url)
        async with delivering(webhook(f"@{file}", tmp_path)) as sink:
            sink.outbox.take(records(0))
            await until(lambda: sink.outbox.status().last_error is not None)
            assert "path-token" not in str(sink.outbox.status())
            assert "cannot connect" in str(sink.outbox.status())

    run(main())
    said = capsys.readouterr().out
    assert "path-token" not in said
    assert SECRET not in said


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_the_receiver_must_be_trusted(tmp_path: Path, trusted: bool) -> None:
    """By the authority in the file; to another one's receiver nothing is posted."""
    ca = files(tmp_path / "edge", "porch").directory / "ca.pem"
    if not trusted:
        ca.write_bytes(authority("another house").own.certificate_pem)
    server = contexts("receiver")[0]  # one of its own: it is changed
    server.verify_mode = 0  # type: ignore[assignment] # a webhook's receiver asks for no certificate

    async def main() -> None:
        async with receiver(tls=server) as there, delivering(webhook(there.url, tmp_path, ca=ca)) as sink:
            sink.outbox.take(records(0))
            if trusted:
                await all_sent(sink.outbox, 1)
            else:
                await until(lambda: "not trusted" in (sink.outbox.status().last_error or ""))
                assert there.requests == []

    run(main())
