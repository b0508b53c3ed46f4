"""Facts about judging ports, tried on real sockets."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from common.config import Address
from common.doctor.finding import Verdict
from common.doctor.ports import PortFacts, check_port, look_at_port

HERE = Address(host="127.0.0.1", port=7400)


def test_a_free_port_is_free_again_afterwards() -> None:
    """Looking does not take it."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = Address(host="127.0.0.1", port=holder.getsockname()[1])
    for _ in range(2):
        assert check_port("port", look_at_port("CLEAVE_CLOUD_LISTEN", address, 0)).verdict is Verdict.OK


def test_a_port_in_use_is_told_with_its_holder() -> None:
    """By name and process, unless it is the service itself."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = Address(host="127.0.0.1", port=holder.getsockname()[1])
        theirs = check_port("port", look_at_port("CLEAVE_CLOUD_LISTEN", address, 0))
        ours = check_port("port", look_at_port("CLEAVE_CLOUD_LISTEN", address, os.getpid()))
    assert theirs.verdict is Verdict.FAIL
    assert f"(process {os.getpid()})" in theirs.said
    assert "set CLEAVE_CLOUD_LISTEN to another port" in theirs.cure
    assert ours.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("error", "said", "cure"),
    [
        (errno.EADDRINUSE, "another program", "end that program"),
        (errno.EADDRNOTAVAIL, "no such address", "0.0.0.0"),
        (errno.EACCES, "below 1024", "7400"),
        (errno.EIO, os.strerror(errno.EIO), "another address"),
    ],
)
def test_each_error_has_its_cure(error: int, said: str, cure: str) -> None:
    """Whatever came of trying."""
    finding = check_port("port", PortFacts("CLEAVE_CLOUD_LISTEN", HERE, error))
    assert finding.verdict is Verdict.FAIL
    assert said in finding.said
    assert cure in finding.cure


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_seen(host: str) -> None:
    """One that this machine has not, and a name that is none."""
    facts = look_at_port("CLEAVE_CLOUD_LISTEN", Address(host=host, port=7400), 0)
    assert facts.error == errno.EADDRNOTAVAIL
