"""What only the operator can mend: one clear error, exit status 78, nothing started."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pair import Cloud, Edge, free_port
from tests.system.conftest import MODEL

pytestmark = pytest.mark.timeout(120)


def run(module: str, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLEAVE_")}
    environment |= {"CLEAVE_LOG_FORMAT": "json"} | {k: str(v) for k, v in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", module],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_misspelt_model_is_told_with_the_nearest_names(tmp_path: Path) -> None:
    """`resnet81` is refused, and the error names `resnet18`."""
    done = run("cloud_daemon", CLEAVE_MODEL="resnet81", CLEAVE_WEIGHTS="random:0")
    assert done.returncode == 78
    assert "resnet18" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    """A source that does not exist is refused before the model is loaded."""
    done = run(
        "edge_daemon",
        CLEAVE_MODEL=MODEL,
        CLEAVE_WEIGHTS="random:0",
        CLEAVE_EDGE_SOURCE=tmp_path / "nowhere",
        CLEAVE_EDGE_STATE_DIR=tmp_path,
    )
    assert done.returncode == 78
    assert f"CLEAVE_EDGE_SOURCE={tmp_path / 'nowhere'}: does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """A cloud whose port is taken says which, and what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(
            "cloud_daemon",
            CLEAVE_MODEL=MODEL,
            CLEAVE_WEIGHTS="random:0",
            CLEAVE_CLOUD_LISTEN=f"127.0.0.1:{port}",
            CLEAVE_CLOUD_STATE_DIR=tmp_path,
            CLEAVE_CLOUD_EXECUTOR="torch",
        )
    assert done.returncode == 78
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "CLEAVE_CLOUD_LISTEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_different_weights_are_refused_by_both_with_both_fingerprints(tmp_path: Path) -> None:
    """Edge and cloud with other weights: the edge exits with 78, the cloud logs it and serves on."""

    async def scenario() -> None:
        cloud = Cloud(tmp_path, port=free_port(), CLEAVE_MODEL=MODEL, CLEAVE_WEIGHTS="random:1")
        async with cloud:
            await cloud.listening()
            edge = Edge(tmp_path, cloud=cloud.address, CLEAVE_MODEL=MODEL, CLEAVE_WEIGHTS="random:0")
            async with edge:
                assert await edge.wait() == 78
            (refusal,) = cloud.logged("edge refused")
            assert cloud.running
            said = edge.log.read_text()
            assert "weights differ" in refusal["reason"]
            fingerprints = [part.split(",")[0] for part in refusal["reason"].split("weights ")[1:]]
            digests = {f for f in fingerprints if len(f) == 12 and set(f) <= set("0123456789abcdef")}
            assert len(digests) == 2
            assert all(digest in said for digest in digests)

    asyncio.run(scenario())
