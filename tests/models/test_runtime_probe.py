"""Facts about the probe: it tells each part by itself, and downloads nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def environment() -> dict[str, str]:
    """What a service would have: a path, and where our packages are."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def probe(*models: str, **more: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "models.runtime_probe", *models],
        env=environment() | more,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_part_begins_and_tells_and_nothing_is_downloaded(tmp_path: Path) -> None:
    """Published weights that are not there are told with the path of their file; a broken model breaks no other."""
    (tmp_path / "broken.py").write_text("raise SystemError('no good')\n")
    told = probe(
        *("squeezenet1_1", "default", "broken:model", "default", "tests.tiny_model:factory", "random:0"),
        TORCH_HOME=str(tmp_path),
        PYTHONPATH=f"{ROOT}:{tmp_path}",
    )
    begun = [line["part"] for line in told if line.get("begins")]
    assert begun == ["machine", "torch", "torchvision", "onnxruntime", "iperf3", "model", "model", "model"]
    found = [line for line in told if not line.get("begins")]
    assert found[0]["cores"] >= 1
    assert found[1]["finite"] is True
    download, broken, tiny = found[-3:]
    assert download["to_download"].startswith(f"{tmp_path}/hub/checkpoints/squeezenet1_1-")
    assert "no good" in broken["error"]
    assert set(tiny["fingerprint"]) == {"architecture", "weights", "graph"}
    assert not (tmp_path / "hub").exists()
