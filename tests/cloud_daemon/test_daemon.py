"""Facts about the cloud daemon put together: it serves until a signal, and says what it cannot mend."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_daemon.config import CloudSettings
from cloud_daemon.daemon import load_models
from cloud_daemon.daemon import run as run_cloud
from common.config import Address
from common.errors import ConfigurationError
from common.wire.messages import Drain, Welcome
from tests.cloud_daemon.edge import Edge, free_port, hello
from tests.event_loop import run

ROOT = Path(__file__).parents[2]


def settings(tmp_path: Path, address: Address) -> CloudSettings:
    return CloudSettings.load(
        {
            "CLEAVE_MODEL": "tests.tiny_model:factory",
            "CLEAVE_WEIGHTS": "random:0",
            "CLEAVE_CLOUD_LISTEN": str(address),
            "CLEAVE_CLOUD_STATE_DIR": str(tmp_path),
            "CLEAVE_CLOUD_EXECUTOR": "torch",
            "CLEAVE_CLOUD_INSECURE": "1",
            "CLEAVE_CLOUD_HTTP": "127.0.0.1:0",
        }
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Listening only once the model is warm; on the signal edges are told, and the run ends in order."""
    address = Address(host="127.0.0.1", port=free_port())

    async def main() -> None:
        task = asyncio.create_task(run_cloud(settings(tmp_path, address)))
        edge = Edge()
        loop = asyncio.get_running_loop()
        while not edge.channel.is_open and not task.done():
            try:
                # From another address: a port that nobody listens on yet may be the connection's own.
                await loop.create_connection(
                    lambda: edge.channel, address.host, address.port, local_addr=("127.0.0.2", 0)
                )
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            edge.say(hello())
            await edge.hears(Welcome)
        os.kill(os.getpid(), number)
        assert "shutting down" in (await edge.hears(Drain)).reason
        await task
        await edge.ended

    run(main())


STARTING = """
import sys, threading
import cloud_daemon.daemon as daemon
from cloud_daemon.__main__ import main

def endless(*_):
    print("measuring", flush=True)
    threading.Event().wait()

daemon.choose_executor = endless
sys.argv = ["cleave-cloud"]
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_models_are_exported_and_measured(
    tmp_path: Path, number: signal.Signals
) -> None:
    """That takes minutes at the first start, and systemd kills after ten seconds what does not end."""
    environment = {
        **os.environ,
        "CLEAVE_MODEL": "tests.tiny_model:factory",
        "CLEAVE_WEIGHTS": "random:0",
        "CLEAVE_CLOUD_LISTEN": f"127.0.0.1:{free_port()}",
        "CLEAVE_CLOUD_STATE_DIR": str(tmp_path),
        "CLEAVE_CLOUD_INSECURE": "1",
        "CLEAVE_CLOUD_HTTP": "127.0.0.1:0",
    }
    with subprocess.Popen(
        [sys.executable, "-c", STARTING], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as daemon:
        try:
            assert daemon.stdout is not None
            assert any(line == "measuring\n" for line in daemon.stdout), "it ended before"
            daemon.send_signal(number)
            assert daemon.wait(timeout=20.0) == 0
        finally:
            daemon.kill()


def test_what_cannot_be_listened_on_is_the_operators_error(tmp_path: Path) -> None:
    """The setting is named, and nothing is left running."""

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as group:
            await run_cloud(settings(tmp_path, Address(host="192.0.2.1", port=1)))
        assert group.group_contains(ConfigurationError, match="CLEAVE_CLOUD_LISTEN")

    run(main())


def test_all_models_that_cannot_be_loaded_are_told_at_once() -> None:
    """A line for each, with what is near; the operator mends them together."""
    settings = CloudSettings.load(
        {
            "CLEAVE_MODEL": "tests.tiny_model:factory",
            "CLEAVE_WEIGHTS": "random:0",
            "CLEAVE_CLOUD_MODELS": "resnet81,tests.tiny_model:nothing,tests.tiny_model:factory=random:1",
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        load_models(settings)
    first, second = str(caught.value).splitlines()
    assert "'resnet81' is no torchvision classifier" in first
    assert "has no 'nothing'" in second
