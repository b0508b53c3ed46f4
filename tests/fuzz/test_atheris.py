"""Facts that a coverage-guided fuzzer looks for holes in, where atheris is installed (`pip install atheris`)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 50_000


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_coverage_guided_streams_are_heard_or_refused(tmp_path: Path) -> None:
    """libFuzzer begins with a message of every type and the corpus, and finds nothing but the peer's error."""
    command = [
        *(sys.executable, "-m", "tests.fuzz.atheris_target", str(tmp_path)),
        *(f"-runs={RUNS}", "-max_len=20000", f"-artifact_prefix={tmp_path}/"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"Done {RUNS} runs" in done.stderr
