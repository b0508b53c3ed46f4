"""Facts about clocks: durations and deadlines are of clocks that are never set; the time of day is only told."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("common", "models", "edge_daemon", "cloud_daemon")

TIME_OF_DAY = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
TOLD = {
    "edge_daemon/results.py": "when a frame was answered, for whoever reads the record",
    "edge_daemon/view.py": "when the status was written, for whoever reads it",
    "cloud_daemon/view.py": "when the status was written, for whoever reads it",
    "cloud_daemon/frame_tally.py": "when an edge connected, for whoever looks at the page",
    "edge_daemon/switch_log.py": "when a plan came into force, for whoever looks at the page",
    "common/tls/identity.py": "how long a certificate is still good",
    "cloud_daemon/access.py": "how long a certificate is still good",
    "cloud_daemon/commands/pki.py": "from when and until when a certificate is good",
    "common/doctor/machine.py": "whether the clock is right, and certificates are valid by it, for whoever asks",
    "edge_daemon/connector.py": "whether a certificate has ended, for the log",
    "edge_daemon/capture_child.py": "when a camera's frame was captured, for whoever reads its record",
    "edge_daemon/sinks/webhook.py": "when a batch was signed, for whoever refuses old ones",
    "edge_daemon/source.py": "a file's age at the start, believed until the clock is seen to be set",
}
"""Where the time of day may be asked for, and what for."""


def asked_for(path: Path) -> list[str]:
    """The clocks of TIME_OF_DAY that a module names, called or handed on."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            found.append(f"{owner}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"time.{alias.name}" for alias in node.names]
    return sorted(TIME_OF_DAY.intersection(found))


def test_the_time_of_day_is_asked_for_only_to_be_told() -> None:
    """A clock that is set (a device without a battery learns the time) shifts no deadline and no duration."""
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    asking = {str(path.relative_to(ROOT)) for path in modules if asked_for(path)}
    assert asking == set(TOLD)


def test_the_scan_finds_a_clock_however_it_is_named(tmp_path: Path) -> None:
    """The test above can fail."""
    module = tmp_path / "module.py"
    for text in (
        "import time\nnow = time.time()",
        "import time\nclock = time.time",
        "from time import time",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now(UTC)",
    ):
        module.write_text(text)
        assert asked_for(module), text
    module.write_text("import time\ntime.monotonic() + time.perf_counter()")
    assert asked_for(module) == []
