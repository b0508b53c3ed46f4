"""Facts about the order of system calls: what would survive a power cut if the disk does what fsync says.

A kill leaves the kernel alive, and so what was written and not synced. That records count only after fsync cannot be
shown by killing; it is shown here by what a real edge asks of its kernel, and in `test_results_file.py` by cutting
the power at each call of a file layer.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.pair import free_port
from tests.chaos.tiny_pair import EDGE, judge, make_frames

ROOT = Path(__file__).parent.parent.parent
CALL = re.compile(
    r'^\d+ +(?P<name>\w+)\(\d+<(?P<path>[^>]*)>(?:, "(?P<data>(?:[^"\\]|\\.)*)")?.* = (?P<gave>-?\d+)'
)
ANSWERED = re.compile(r'\\"answered\\": (\d+)')


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    path: str
    data: str
    gave: int


def calls(trace: Path) -> Iterator[Call]:
    """The calls of a trace that came off, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>")
            continue
        if "resumed>" in line:
            line = begun.pop(thread, "") + line.split("resumed>", 1)[1]
        if found := CALL.match(line):
            yield Call(found["name"], found["path"], found["data"] or "", int(found["gave"]))


@pytest.mark.timeout(120)
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_no_record_counts_before_it_is_synced(tmp_path: Path) -> None:
    """Of a real edge: each time the status says how many are answered, so many lines were written and then synced."""
    frames = make_frames(tmp_path / "frames", 60)
    results, trace = tmp_path / "r.jsonl", tmp_path / "trace"
    environment = {
        **EDGE,
        "CLEAVE_EDGE_PLAN": "edge-only",
        "CLEAVE_EDGE_SOURCE": str(tmp_path / "frames"),
        "CLEAVE_EDGE_RESULTS": str(results),
        "CLEAVE_EDGE_STATE_DIR": str(tmp_path / "state"),
        "CLEAVE_EDGE_CLOUD": f"127.0.0.1:{free_port()}",
        "CLEAVE_EDGE_SAMPLING_FPS": "40",
        "CLEAVE_EDGE_WHEN_DRAINED": "exit",
        "CLEAVE_EDGE_HTTP": "off",
        "PATH": "/usr/bin:/bin",
    }
    command = ["strace", "-f", "-y", "-s", "1000000", "-e", "trace=write,fsync", "-o", str(trace)]
    ran = subprocess.run(
        [*command, sys.executable, "-m", "edge_daemon"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    if "PTRACE" in ran.stderr or "ptrace" in ran.stderr:
        pytest.skip(f"no tracing here: {ran.stderr.strip()[:200]}")
    assert ran.returncode == 0, ran.stderr
    assert judge(results.read_bytes(), [frame.name for frame in frames]).good

    written = synced = looks = 0
    named = False
    for call in calls(trace):
        if call.path == str(results) and call.name == "write":
            assert named, "the new file's name was synced before anything was written"
            written += call.data.count("\\n") if call.gave > 0 else 0
        elif call.path == str(results) and call.name == "fsync" and call.gave == 0:
            synced = written
        elif call.path == str(tmp_path) and call.name == "fsync":
            named = True
        elif "/state/status" in call.path and (told := ANSWERED.search(call.data)):
            looks += 1
            assert int(told[1]) <= synced
    assert synced == written == 60
    assert looks >= 3, "the status was written on the way"
