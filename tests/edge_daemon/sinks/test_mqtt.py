"""Facts about MQTT, with a real broker: what is published where, and what happens when the broker is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edge_daemon.sinks import mqtt as module
from edge_daemon.sinks import retry
from edge_daemon.sinks.addresses import MqttAddress
from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.mqtt import Mqtt, MqttOptions
from edge_daemon.sinks.mqtt_topics import Topics
from edge_daemon.sinks.sinks import Sender
from tests.certificates import authority, files
from tests.certificates import rack as rack_files
from tests.edge_daemon.records import line
from tests.edge_daemon.sinks.boxes import delivering, outbox
from tests.event_loop import LOOPS, run, until
from tests.mosquitto import Broker, broker, listener, needs_mosquitto

pytestmark = [needs_mosquitto, pytest.mark.timeout(60)]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.05)
    monkeypatch.setattr(module, "RECONNECT_MOST_S", 0.1)
    monkeypatch.setattr(module, "STATE_S", 0.1)


def mqtt(at: Broker, directory: Path, **changes: Any) -> Callable[[], Sender]:
    scheme = changes.pop("scheme", "mqtt")
    options: dict[str, Any] = {
        "address": MqttAddress.parse(f"{scheme}://127.0.0.1:{at.port}/house"),
        "login": None,
        "ca": None,
        "edge": "porch",
        "model": "tiny",
        "discovery": "",
    }
    return lambda: Mqtt(MqttOptions(**(options | changes)), outbox(directory), rng=random.Random(1))


def records(*numbers: int) -> list[Message]:
    return [Message.of(line(number).rstrip()) for number in numbers]


def frames(payloads: list[bytes]) -> list[int]:
    return [json.loads(payload)["frame"] for payload in payloads]


@pytest.mark.parametrize("loop", LOOPS)
def test_records_are_published_in_order_with_id_and_edge(tmp_path: Path, loop: str) -> None:
    """On either event loop; each as its record, with the id it is known again by; confirmed, it waits no longer."""

    async def main() -> None:
        async with (
            broker(tmp_path) as at,
            listener(at.port) as heard,
            delivering(mqtt(at, tmp_path)) as sink,
        ):
            sink.outbox.take(records(*range(100)))
            await until(lambda: sink.outbox.status().sent == 100)
            await until(lambda: len(heard.on("house/porch/result")) == 100)
            payloads = heard.on("house/porch/result")
            assert frames(payloads) == list(range(100))
            first = json.loads(payloads[0])
            assert (first["id"], first["edge"]) == (records(0)[0].id, "porch")
            assert {key: first[key] for key in first if key not in ("id", "edge")} == json.loads(line(0))
            await until(
                lambda: not sink.outbox.status().spooled_records
            )  # what was sent is dropped a moment later
            status = sink.outbox.status()
            assert (status.connected, status.last_error) == (True, None)

    run(main(), loop)


def test_the_status_is_retained_and_told_at_both_ends(tmp_path: Path) -> None:
    """Online with the connection, offline when the edge takes leave, for whoever asks later, too."""

    async def main() -> None:
        async with broker(tmp_path) as at:
            async with delivering(mqtt(at, tmp_path)) as sink:
                await until(lambda: sink.outbox.status().connected)
                async with listener(at.port, "house/porch/status") as heard:
                    await until(lambda: heard.last("house/porch/status") == "online")
            async with listener(at.port, "house/porch/status") as heard:
                await until(lambda: heard.last("house/porch/status") == "offline")

    run(main())


def test_the_broker_says_when_the_edge_is_gone(tmp_path: Path) -> None:
    """An edge that does not take leave: its last will is the broker's to tell, and it says itself when it is back."""

    async def main() -> None:
        async with (
            broker(tmp_path) as at,
            listener(at.port, "house/porch/status") as heard,
            delivering(mqtt(at, tmp_path)),
        ):
            await until(lambda: heard.last("house/porch/status") == "online")
            # One of the same name: the broker ends the older connection as if it had been lost.
            name = Topics("house", "porch").client_id
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client("127.0.0.1", at.port, identifier=name):
                    await until(lambda: len(heard.messages) >= 3)
            assert [payload for _, payload in heard.messages[:3]] == [b"online", b"offline", b"online"]

    run(main())


def test_the_state_is_told_now_and_then(tmp_path: Path) -> None:
    """Plan and link as the edge's status has them, what waits, and the rate of answers."""

    async def main() -> None:
        async with (
            broker(tmp_path) as at,
            listener(at.port) as heard,
            delivering(mqtt(at, tmp_path)) as sink,
        ):
            sink.tell(
                {
                    "plan": {"cut": "after conv1", "mode": "light", "sustainable_fps": 12.34567},
                    "link": {"available": True, "bandwidth_mbit": 33.0},
                }
            )
            sink.outbox.take(records(0, 1))
            await until(lambda: (heard.last("house/porch/state") or {}).get("cut") == "after conv1")
            state = heard.last("house/porch/state")
            assert (state["mode"], state["sustainable_fps"], state["bandwidth_mbit"]) == (
                "light",
                12.346,
                33.0,
            )
            assert state["cloud"] is True
            await until(lambda: len(heard.on("house/porch/state")) > 4)

    run(main())


def test_home_assistant_is_told_what_there_is(tmp_path: Path) -> None:
    """Retained, under its own prefix: six sensors and the connection."""

    async def main() -> None:
        async with broker(tmp_path) as at, delivering(mqtt(at, tmp_path, discovery="ha")) as sink:
            await until(lambda: sink.outbox.status().connected)
            async with listener(at.port, "ha/#") as heard:
                await until(lambda: len(heard.messages) == 7)

    run(main())


def test_a_broker_that_is_away_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle and started again: all records come, in order; what comes twice has the same id."""

    answers = module._answers

    async def main() -> None:
        async with (
            broker(tmp_path) as at,
            listener(at.port, "house/porch/result") as heard,
            delivering(mqtt(at, tmp_path)) as sink,
        ):

            async def once_heard(host: str, port: int) -> None:
                await (
                    heard.listening.wait()
                )  # this broker keeps nothing for one who comes later than the sink
                await answers(host, port)

            sink.outbox.take(records(*range(50)))
            await until(lambda: len(heard.messages) >= 10)
            monkeypatch.setattr(module, "_answers", once_heard)
            at.kill()
            await until(lambda: not heard.listening.is_set())
            await until(lambda: not sink.outbox.status().connected)
            sink.outbox.take(records(*range(50, 300)))
            await until(lambda: sink.outbox.status().spooled_records >= 250)
            assert sink.outbox.status().last_error
            at.start()
            await until(lambda: sink.outbox.status().spooled_records == 0)
            await until(lambda: frames(heard.on("house/porch/result"))[-1] == 299)
            payloads = heard.on("house/porch/result")
            # What the first connection sent last may have been on its way when the broker was killed.
            firsts = list(dict.fromkeys(frames(payloads)))
            assert firsts == sorted(firsts)
            assert set(range(50, 300)) <= set(firsts)
            ids = {json.loads(payload)["id"] for payload in payloads}
            assert len(ids) == len(firsts)
            assert sink.outbox.status().sent == 300

    run(main())
    said = capsys.readouterr().out
    assert said.count("sink: receiver reached") == 2
    assert said.count("sink: receiver away") >= 1


def test_a_broker_that_stands_still_is_given_up_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It confirms nothing for a while: its connection is closed, and all is sent again once it goes on."""
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    monkeypatch.setattr(module, "CONNECT_S", 0.3)
    monkeypatch.setattr(module, "LEAVE_S", 0.1)

    async def main() -> None:
        async with (
            broker(tmp_path) as at,
            listener(at.port, "house/porch/result") as heard,
            delivering(mqtt(at, tmp_path)) as sink,
        ):
            sink.outbox.take(records(0))
            await until(lambda: sink.outbox.status().sent == 1)
            at.send(signal.SIGSTOP)
            sink.outbox.take(records(1, 2, 3))
            await until(lambda: not sink.outbox.status().connected)
            at.send(signal.SIGCONT)
            await until(lambda: sink.outbox.status().sent == 4)
            await until(lambda: len(set(frames(heard.on("house/porch/result")))) == 4)
            firsts = list(dict.fromkeys(frames(heard.on("house/porch/result"))))
            assert firsts == [0, 1, 2, 3]

    run(main())


def test_a_login_that_is_refused_is_said_and_read_again(tmp_path: Path) -> None:
    """The password comes from a file, which is read at each try: corrected, it is used at once."""
    passwords = tmp_path / "passwords"
    login = tmp_path / "login"
    login.write_text("edge\nwrong password\n")

    async def main() -> None:
        made = await asyncio.create_subprocess_exec(
            "mosquitto_passwd", "-c", "-b", passwords, "edge", "right"
        )
        assert await made.wait() == 0
        async with (
            broker(tmp_path, "allow_anonymous false", f"password_file {passwords}") as at,
            delivering(mqtt(at, tmp_path, login=login)) as sink,
        ):
            await until(lambda: bool(sink.outbox.status().last_error))
            assert "authori" in (sink.outbox.status().last_error or "").lower()
            login.write_text("edge\nright\n")
            await until(lambda: sink.outbox.status().connected)

    run(main())


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves what it cannot trust open
@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_the_broker_must_be_trusted(tmp_path: Path, trusted: bool) -> None:
    """By the authority in the file; another one's broker is told nothing."""
    house, other = rack_files(tmp_path / "rack", "127.0.0.1"), files(tmp_path / "edge", "porch")
    ca = other.directory / "ca.pem"
    if not trusted:
        ca.write_bytes(authority("another house").own.certificate_pem)
    tls = [
        f"cafile {house.directory}/ca.pem",
        f"certfile {house.directory}/cert.pem",
        f"keyfile {house.directory}/key.pem",
        "allow_anonymous true",
    ]

    async def main() -> None:
        async with (
            broker(tmp_path, *tls) as at,
            delivering(mqtt(at, tmp_path, scheme="mqtts", ca=ca)) as sink,
        ):
            sink.outbox.take(records(0))
            if trusted:
                await until(lambda: sink.outbox.status().sent == 1)
            else:
                await until(lambda: "CERTIFICATE_VERIFY" in (sink.outbox.status().last_error or "").upper())
                assert sink.outbox.status().sent == 0

    run(main())


def test_nobody_listening_is_said_and_ends_at_once(tmp_path: Path) -> None:
    """A broker that was never there: the reason, and no thread that holds the end up."""

    async def main() -> None:
        async with delivering(mqtt(Broker(tmp_path), tmp_path)) as sink:
            await until(lambda: "cannot connect" in (sink.outbox.status().last_error or ""))

    run(main())
