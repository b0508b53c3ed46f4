"""Runs a chaos command for a few seconds, in a process of its own: daemons are forked from it, and tests compute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run_short(module: str, *arguments: str, timeout_s: float = 150.0) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.chaos.MODULE` to its end; what it says is printed for whoever looks at a failure."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.chaos.{module}", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done
