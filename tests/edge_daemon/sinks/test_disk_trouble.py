"""Facts about what is said of a disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import structlog
from structlog.testing import capture_logs

from edge_daemon.sinks.disk_trouble import DiskTrouble


def failed(reason: int) -> OSError:
    return OSError(reason, os.strerror(reason))


def test_trouble_is_said_once_for_each_reason_and_so_is_its_end() -> None:
    """Nothing is said of a disk that is in order."""
    with capture_logs() as logged:
        trouble = DiskTrouble(structlog.get_logger(), Path("/some/spool"), "read")
        trouble.end()
        for reason in (errno.EIO, errno.EIO, errno.EMFILE, errno.EMFILE):
            trouble.go_on(failed(reason))
            assert trouble.reason == os.strerror(reason)
        trouble.end()
        trouble.end()
        assert trouble.reason is None
        trouble.go_on(failed(errno.EMFILE))
    assert [(line["event"], line.get("reason")) for line in logged] == [
        ("sink: the spool cannot be read", os.strerror(errno.EIO)),
        ("sink: the spool cannot be read", os.strerror(errno.EMFILE)),
        ("sink: the spool can be read again", None),
        ("sink: the spool cannot be read", os.strerror(errno.EMFILE)),
    ]
    assert {line["path"] for line in logged} == {"/some/spool"}
