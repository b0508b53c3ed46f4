"""Facts about measuring with iperf3 in a child process: a figure, or a reason why there is none."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from common.errors import ProbeError
from edge_daemon.iperf import measure_bandwidth, parse_result
from tests.event_loop import run


def test_the_childs_figure_is_taken() -> None:
    """The last line counts: the binding may print before it."""
    assert parse_result(b'{"bps": 12500000.5}\n', b"") == 12500000.5
    assert parse_result(b'iperf3: noise\n{"bps": 1.0}\n', b"warning") == 1.0


@pytest.mark.parametrize(
    ("out", "err", "reason"),
    [
        (b'{"error": "unable to connect"}\n', b"", "iperf3: unable to connect"),
        (b"", b"", "ended without a result: it said nothing"),
        (b"", b"Traceback\nOSError: libiperf.so.0\n", "ended without a result: OSError: libiperf.so.0"),
        (b"killed", b"\xff\xfe", "ended without a result"),
        (b'{"bps": 0.0}', b"", "measured 0.0"),
        (b'{"bps": -1.0}', b"", "measured -1.0"),
        (b'{"bps": NaN}', b"", "measured nan"),
        (b'{"bps": Infinity}', b"", "measured inf"),
        (b'{"bps": null}', b"", "measured None"),
        (b'{"bps": "fast"}', b"", "measured 'fast'"),
        (b"{}", b"", "measured None"),
        (b"[]", b"", "measured None"),
        (b"7", b"", "without a result"),
        (b"null", b"", "without a result"),
    ],
)
def test_anything_else_is_an_error_with_its_reason(out: bytes, err: bytes, reason: str) -> None:
    """No bandwidth is invented from a child that failed, died or said something odd."""
    with pytest.raises(ProbeError, match=reason):
        parse_result(out, err)


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The binding is known to hang: after the limit the child is killed, and no process is left behind."""
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def sleeper(*_: Any, **options: Any) -> asyncio.subprocess.Process:
        child = await start(sys.executable, "-c", "import time; time.sleep(600)", **options)
        started.append(child)
        return child

    monkeypatch.setattr(asyncio, "create_subprocess_exec", sleeper)

    async def main() -> None:
        with pytest.raises(ProbeError, match=r"no result within 0.2 s"):
            await measure_bandwidth("127.0.0.1", 1, timeout_s=0.2)
        assert started[0].returncode == -9

    run(main(), "asyncio")


def test_a_child_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many processes, say: it costs a measurement, and not the daemon."""

    async def no_process(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)

    async def main() -> None:
        with pytest.raises(ProbeError, match=r"iperf3 cannot be started: .*temporarily unavailable"):
            await measure_bandwidth("127.0.0.1", 1)

    run(main(), "asyncio")


def test_a_server_that_is_not_there_is_told() -> None:
    """The real child reports what iperf3 says, or that iperf3 is missing; either way there is a reason."""

    async def main() -> None:
        with pytest.raises(ProbeError, match=r"iperf3: .+"):
            await measure_bandwidth("127.0.0.1", 1)

    run(main(), "asyncio")
