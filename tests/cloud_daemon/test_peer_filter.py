"""Facts about the filter that keeps a listening socket for one peer, as this machine's kernel applies it."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_daemon.peer_filter import (
    JUMP_IF_EQUAL,
    LOAD_BYTE,
    LOAD_WORD,
    NETWORK_HEADER,
    PASS,
    RETURN,
    SHIFT_RIGHT,
    attach,
    listening_here,
    others_connected,
    program,
)


def passes(peer: str, packet: bytes) -> bool:
    """Run the filter as the kernel does."""
    at = value = 0
    code = program(peer)
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == LOAD_BYTE:
            value = packet[operand - NETWORK_HEADER]
        elif operation == LOAD_WORD:
            (value,) = struct.unpack_from("!I", packet, operand - NETWORK_HEADER)
        elif operation == SHIFT_RIGHT:
            value >>= operand
        elif operation == JUMP_IF_EQUAL:
            at += if_true if value == operand else if_false
        else:
            assert operation == RETURN
            return operand == PASS


def packet(source: str) -> bytes:
    """An IP header from `source`."""
    address = ipaddress.ip_address(source)
    if address.version == 4:
        return b"\x45" + bytes(11) + address.packed + bytes(4)
    return b"\x60" + bytes(7) + address.packed + bytes(16)


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(ADDRESSES, ADDRESSES)
def test_it_passes_its_peer_and_nobody_else(peer: str, other: str) -> None:
    """Of both families; an address of one is never one of the other."""
    plain = ipaddress.ip_address(peer)
    mapped = plain.ipv4_mapped if plain.version == 6 else None
    assert passes(peer, packet(str(mapped or peer)))
    assert passes(peer, packet(other)) == (ipaddress.ip_address(other) == (mapped or plain))


def test_an_address_told_by_a_socket_for_both_families_is_the_plain_one() -> None:
    """`::ffff:10.0.0.1` sends IPv4 packets."""
    assert passes("::ffff:10.0.0.1", packet("10.0.0.1"))
    assert not passes("::ffff:10.0.0.1", packet("10.0.0.2"))


def test_the_kernel_applies_it() -> None:
    """The peer connects and is heard; another address cannot even connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attach(listener, "127.0.0.2")
        with socket.socket() as stranger:
            stranger.settimeout(0.2)
            with pytest.raises(TimeoutError):
                stranger.connect(listener.getsockname())
        with socket.create_connection(listener.getsockname(), 5, source_address=("127.0.0.2", 0)) as peer:
            accepted, _ = listener.accept()
            peer.sendall(b"hello")
            with accepted:
                assert accepted.recv(5) == b"hello"


def test_who_came_before_the_filter_is_seen() -> None:
    """A connection that is already there is told, unless it is the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert others_connected(port, "127.0.0.1") == []
        with socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.3", 0)):
            assert others_connected(port, "127.0.0.3") == []
            assert others_connected(port, "127.0.0.1") == ["127.0.0.3"]


def test_listening_sockets_of_this_process_are_found() -> None:
    """Also one that another library has opened."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket():
        found = list(listening_here())
        try:
            assert listener.getsockname() in [one.getsockname() for one in found]
        finally:
            for one in found:
                one.close()
