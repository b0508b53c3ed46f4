"""The pair under TLS, as processes, with certificates as the command makes them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pair import Cloud, Edge, free_port
from tests.system.conftest import MODEL
from tests.system.test_refusals import run as run_to_its_end

pytestmark = pytest.mark.timeout(180)

SAME: dict[str, Any] = {"CLEAVE_MODEL": MODEL, "CLEAVE_WEIGHTS": "random:0"}


def pki(*arguments: object) -> None:
    command = [sys.executable, "-m", "cloud_daemon", "pki", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def issue(directory: Path, name: str, *more: object) -> Path:
    """Have a certificate issued, by an authority that is made for the first one."""
    home = directory / "pki"
    if not home.exists():
        pki("init", "--dir", home)
    pki("issue", name, "--dir", home, "--out", directory / f"{name}-tls", *more)
    return directory / f"{name}-tls"


def test_certificates_are_renewed_and_edges_sent_away_without_a_restart(
    tmp_path: Path, frames: list[Path]
) -> None:
    """SIGHUP to either daemon: new certificates are in force, the list too; frames go on all the time."""
    rack = issue(tmp_path, "rack", "--cloud", "--host", "127.0.0.1", "--days", 20)
    porch = issue(tmp_path, "porch", "--days", 20)
    allowed = tmp_path / "allowed"
    allowed.write_text("porch\n")

    async def scenario() -> None:
        async with Cloud(
            tmp_path,
            port=free_port(),
            CLEAVE_CLOUD_TLS=rack,
            CLEAVE_CLOUD_ALLOW=f"@{allowed}",
            CLEAVE_CLOUD_IPERF_PORT=free_port(),
            CLEAVE_CLOUD_EXECUTOR="torch",
            **SAME,
        ) as cloud:
            await cloud.listening()
            assert cloud.logged("listening for edges")[0]["channel"] == "TLS 1.3 as rack, for 1 edges by name"
            await cloud.until("warning", lambda: cloud.logged("certificate ends soon, issue a new one"), 20)
            async with Edge(
                tmp_path,
                cloud=cloud.address,
                CLEAVE_EDGE_TLS=porch,
                CLEAVE_EDGE_PLAN="cloud-only",
                CLEAVE_EDGE_EXECUTOR="torch",
                **SAME,
            ) as edge:
                await edge.until("cloud plan", lambda: edge.cut == "cloud-only", 60)
                edge.offer(frames[:5])
                await edge.answered(5, 60)
                assert {record["ran"] for record in edge.records()} == {"cloud"}
                assert cloud.logged("edge connected")[0]["edge"] == "porch"

                issue(tmp_path, "porch", "--days", 200, "--replace")
                edge.send_signal(signal.SIGHUP)
                await edge.until("renewal", lambda: edge.logged("certificates read again"), 20)
                issue(tmp_path, "rack", "--cloud", "--host", "127.0.0.1", "--replace")
                allowed.write_text("attic\n")
                cloud.send_signal(signal.SIGHUP)
                await cloud.until("renewal", lambda: cloud.logged("certificates read again"), 20)
                await edge.until("refusal", lambda: "not on this cloud's list" in error(edge), 20)
                edge.offer(frames[5:10])
                await edge.answered(10, 60)
                assert edge.records()[-1]["ran"].startswith("edge")

                allowed.write_text("attic\nporch\n")
                cloud.send_signal(signal.SIGHUP)
                await edge.until("return", lambda: edge.status()["link"]["available"], 30)
                assert edge.status()["link"]["tls"]["days_left"] > 190
                edge.offer(frames[10:15])
                await edge.answered(15, 60)
                assert edge.running
                assert cloud.running

    asyncio.run(scenario())


def error(edge: Edge) -> str:
    return str(edge.status()["link"]["last_error"])


def test_what_is_wrong_with_the_channel_is_told_at_once(tmp_path: Path) -> None:
    """Before a model is loaded: an open cloud, an edge's certificate for a cloud, a name that is another one's."""
    porch = issue(tmp_path, "porch")
    cloud: dict[str, Any] = {"CLEAVE_CLOUD_STATE_DIR": tmp_path, **SAME}
    done = run_to_its_end("cloud_daemon", CLEAVE_CLOUD_LISTEN="0.0.0.0:7400", **cloud)
    assert done.returncode == 78
    assert "CLEAVE_CLOUD_INSECURE=1" in done.stderr
    done = run_to_its_end("cloud_daemon", CLEAVE_CLOUD_TLS=porch, **cloud)
    assert done.returncode == 78
    assert "this is the certificate of the edge porch" in done.stderr
    edge: dict[str, Any] = {"CLEAVE_EDGE_SOURCE": tmp_path, "CLEAVE_EDGE_STATE_DIR": tmp_path, **SAME}
    done = run_to_its_end("edge_daemon", CLEAVE_EDGE_TLS=porch, CLEAVE_EDGE_NAME="shed", **edge)
    assert done.returncode == 78
    assert "porch's" in done.stderr
    assert "Traceback" not in done.stderr
