"""Facts about all sinks in a real edge daemon: told of what is safe, ended in time, none in another's way."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigurationError
from edge_daemon.config import EdgeSettings
from edge_daemon.daemon import EdgeDaemon
from edge_daemon.sinks import sinks as module
from edge_daemon.sinks.sinks import check_sinks
from edge_daemon.sinks.webhook import Webhook
from models.executor import TorchExecutor
from tests.cloud_daemon.edge import free_port
from tests.edge_daemon.sinks.receiver import receiver, saying, taken
from tests.event_loop import run, until
from tests.tiny_model import jpeg, tiny_model


def settings(root: Path, count: int = 5, **more: Any) -> EdgeSettings:
    frames = root / "frames"
    frames.mkdir(exist_ok=True)
    for number in range(count):
        path = frames / f"{number:02d}.jpg"
        if not path.exists():
            path.write_bytes(jpeg(number))
    own = {
        "source": frames,
        "results": root / "r.jsonl",
        "cloud": f"127.0.0.1:{free_port()}",
        "state_dir": root / "state",
        "when_drained": "exit",
        "plan": "edge-only",
        "name": "porch",
        "webhook_wait_s": 0.01,
    } | more
    environ = {f"CLEAVE_EDGE_{name.upper()}": str(value) for name, value in own.items()}
    return EdgeSettings.load(
        {"CLEAVE_MODEL": "tests.tiny_model:factory", "CLEAVE_WEIGHTS": "random:0", **environ}
    )


def edge(chosen: EdgeSettings) -> EdgeDaemon:
    return EdgeDaemon(chosen, tiny_model(), TorchExecutor())


def status(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "state" / "status.json").read_text())["sinks"][0]
    return found


def test_a_run_ends_when_its_receivers_have_everything(tmp_path: Path) -> None:
    """Also the last records: who is there is waited for, and the status says so."""

    async def main() -> None:
        async with receiver() as there:
            await edge(settings(tmp_path, webhook=there.url, annotated=tmp_path / "ring")).run()
            lines = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
            assert there.frames == [record["frame"] for record in lines]
            assert len(there.frames) == 5
        assert (status(tmp_path)["sent"], status(tmp_path)["spooled_records"]) == (5, 0)
        await until(lambda: any((tmp_path / "ring").glob("cleave-*.jpg")))  # behind frames, and after them

    run(main())


@pytest.mark.parametrize("results", ["r.jsonl", "/dev/null"])
def test_a_receiver_that_is_away_does_not_hold_the_end_up(tmp_path: Path, results: str) -> None:
    """Frames are answered, the run ends, and the next one sends what waits, results in a file or not."""

    async def main() -> None:
        nobody = f"http://127.0.0.1:{free_port()}/"
        more: dict[str, Any] = {"results": tmp_path / results}
        await edge(settings(tmp_path, webhook=nobody, **more)).run()
        assert (status(tmp_path)["sent"], status(tmp_path)["spooled_records"]) == (0, 5)
        assert "cannot connect" in status(tmp_path)["last_error"]
        for frame in (tmp_path / "frames").iterdir():
            frame.unlink()
        async with receiver() as there:
            daemon = edge(settings(tmp_path, 0, webhook=there.url, when_drained="wait", **more))
            task = asyncio.create_task(daemon.run())
            await until(lambda: sorted(there.frames) == list(range(5)))
            daemon.stop.set()
            await task

    run(main())


def test_a_sink_that_fails_takes_nobody_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug in it is logged, its records wait, and it begins again."""
    monkeypatch.setattr(module, "AFTER_BUG_S", 0.01)
    deliver, failures = Webhook._deliver, 0

    async def broken(self: Webhook, *arguments: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise ZeroDivisionError("a bug")
        return await deliver(self, *arguments)

    monkeypatch.setattr(Webhook, "_deliver", broken)

    async def main() -> None:
        async with receiver() as there:
            daemon = edge(settings(tmp_path, webhook=there.url, when_drained="wait"))
            task = asyncio.create_task(daemon.run())
            await until(lambda: sorted(there.frames) == list(range(5)))
            daemon.stop.set()
            await task

    run(main())
    assert failures > 2
    assert "sink failed; it begins again" in capsys.readouterr().out


def test_garbage_in_a_spool_stops_nothing(tmp_path: Path) -> None:
    """What is sound is sent, and frames go on."""

    async def main() -> None:
        async with receiver(saying(503)) as away:
            await edge(settings(tmp_path, webhook=away.url)).run()
        (spooled,) = (tmp_path / "state" / "spool" / "webhook").glob("*.spool")
        content = bytearray(spooled.read_bytes())
        content[100:140] = b"\0" * 40
        spooled.write_bytes(content)
        async with receiver(taken) as there:
            daemon = edge(settings(tmp_path, 7, webhook=there.url, when_drained="wait"))
            task = asyncio.create_task(daemon.run())
            await until(lambda: set(there.frames) == {1, 2, 3, 4, 5, 6})
            daemon.stop.set()
            await task
        assert status(tmp_path)["damaged"] == 1

    run(main())


def test_what_sinks_need_is_looked_for_at_the_start(tmp_path: Path) -> None:
    """Each file by the name of its setting; without sinks, nothing."""
    check_sinks(settings(tmp_path))
    for name, extra in (
        ("mqtt_login", {"mqtt": "mqtt://b"}),
        ("mqtt_ca", {"mqtt": "mqtts://b"}),
        ("webhook_secret", {"webhook": "https://x"}),
        ("webhook_ca", {"webhook": "https://x"}),
    ):
        with pytest.raises(ConfigurationError, match=f"CLEAVE_EDGE_{name.upper()}="):
            check_sinks(settings(tmp_path, 0, **extra, **{name: str(tmp_path / "nothing")}))


def test_a_missing_package_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    monkeypatch.delitem(sys.modules, "edge_daemon.sinks.mqtt", raising=False)
    with pytest.raises(ConfigurationError, match="pip install aiomqtt"):
        check_sinks(settings(tmp_path, mqtt="mqtt://b"))
