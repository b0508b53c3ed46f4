"""Peers that should not be let in, as hostile as they can be made without a certificate of ours.

They know the model's fingerprint, ask for everything an edge may ask for, and note every byte that they get.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from cloud_daemon.access import Access
from common.config import Address
from common.tls.certificates import TlsFiles
from common.tls.contexts import cloud_context
from common.tls.identity import Identity
from common.wire import framing
from common.wire.messages import Hello, Message, Ping, ProbeRequest, ProfileRequest, Refused
from tests.certificates import rack
from tests.cloud_daemon.edge import MODEL, SPLIT, Cloud, cloud, hello, measure, prepare

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Spoils:
    """What an attacker got: every byte of the application, and how it ended."""

    heard: bytes
    error: Exception | None = None


def requests(first: Hello) -> bytes:
    """Everything an edge may ask for, its greeting first."""
    more: list[Message] = [
        ProfileRequest(),
        prepare(SPLIT, 1),
        measure(SPLIT),
        ProbeRequest(),
        Ping(number=1),
    ]
    return b"".join(framing.pack(message, 0) for message in (first, *more))


async def attack(
    address: Address, context: ssl.SSLContext | None, *, greeting: Hello | None = None
) -> Spoils:
    """Connect (plainly without a context), ask for everything, and read to the end."""
    said = requests(greeting or hello())
    return await asyncio.to_thread(_attack, address, context, said)


def _attack(address: Address, context: ssl.SSLContext | None, said: bytes) -> Spoils:
    heard = bytearray()
    try:
        with contextlib.ExitStack() as stack:
            line: socket.socket = stack.enter_context(
                socket.create_connection((address.host, address.port), PATIENCE_S)
            )
            if context is not None:
                line = stack.enter_context(context.wrap_socket(line, server_hostname=address.host))
            line.sendall(said)
            while piece := line.recv(65_536):
                heard += piece
    except (OSError, ssl.SSLError) as error:
        return Spoils(bytes(heard), error)
    return Spoils(bytes(heard))


def only_refusal(heard: bytes) -> Refused:
    """The one message that was heard, which must be a refusal that tells nothing of what the cloud holds."""
    prefix = framing.parse_prefix(memoryview(heard)[: framing.PREFIX.size], greeting=True)
    assert prefix.message is Refused
    assert len(heard) == framing.PREFIX.size + prefix.header_bytes
    message = framing.parse_header(prefix, memoryview(heard)[framing.PREFIX.size :])
    assert isinstance(message, Refused)
    fingerprint = MODEL.fingerprint
    for secret in (
        MODEL.name,
        MODEL.weights,
        fingerprint.architecture[:8],
        fingerprint.weights[:8],
        "rack",
        "cpu",
    ):
        assert secret not in message.reason
    return message


@contextlib.asynccontextmanager
async def guarded_cloud(tmp_path: Path, allow: str = "") -> AsyncIterator[Cloud]:
    """A cloud that speaks TLS only, at 127.0.0.1."""
    access = Access(Identity(rack(tmp_path / "rack"), cloud_context), allow)
    async with cloud(tmp_path / "state", access=access) as running:
        yield running


def loose_context(files: TlsFiles | None = None) -> ssl.SSLContext:
    """A client that takes any TLS version and any cloud, with or without a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context
