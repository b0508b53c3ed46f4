"""One peer only: a filter that the kernel applies to a listening socket (classic BPF; needs no privilege).

Packets from any other address are dropped before TCP sees them, so that to everybody else the port is silent.
Connections inherit the filter of the socket that accepted them.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

SO_ATTACH_FILTER = 26
NETWORK_HEADER = 0xFFF0_0000
"""SKF_NET_OFF: offsets from here count from the packet's IP header (linux/filter.h)."""
LOAD_BYTE, LOAD_WORD, SHIFT_RIGHT, JUMP_IF_EQUAL, RETURN = 0x30, 0x20, 0x74, 0x15, 0x06
PASS, DROP = 0xFFFF_FFFF, 0
SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT = 3, 1, 8

Instruction = tuple[int, int, int, int]
"""Operation, instructions to skip if true, if false, operand: `struct sock_filter`."""


def program(peer: str) -> list[Instruction]:
    """Return the filter that passes IP packets from the address `peer` only."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    first = 12 if address.version == 4 else 8  # where the source address is in the IP header
    words = struct.unpack(f"!{len(address.packed) // 4}I", address.packed)
    tests: list[Instruction] = [(LOAD_BYTE, 0, 0, NETWORK_HEADER), (SHIFT_RIGHT, 0, 0, 4)]
    checks = [(None, address.version), *((first + 4 * n, word) for n, word in enumerate(words))]
    for offset, expected in checks:
        if offset is not None:
            tests.append((LOAD_WORD, 0, 0, NETWORK_HEADER + offset))
        tests.append((JUMP_IF_EQUAL, 0, 0, expected))
    passing = len(tests)
    jumping = [
        (op, 0, passing - at, k) if op == JUMP_IF_EQUAL else (op, jt, jf, k)
        for at, (op, jt, jf, k) in enumerate(tests)
    ]
    return [*jumping, (RETURN, 0, 0, PASS), (RETURN, 0, 0, DROP)]


def attach(listener: socket.socket, peer: str) -> None:
    """Have `listener` hear `peer` only. Raises `OSError` where the system cannot."""
    packed = b"".join(struct.pack("HBBI", *instruction) for instruction in program(peer))
    buffer = ctypes.create_string_buffer(packed)
    described = struct.pack("HP", len(packed) // 8, ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)


def listening_here() -> Iterator[socket.socket]:
    """Yield this process's listening TCP sockets, each by a descriptor of its own that the caller closes."""
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket, or gone by now
            continue
        if copy.type == socket.SOCK_STREAM and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            yield copy
        else:
            copy.close()


def why_not_allowed() -> str | None:
    """Try to attach a filter, as this user on this kernel; return why it is refused, or none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            attach(listener, "127.0.0.1")
        except OSError as error:
            return error.strerror
    return None


def others_connected(port: int, peer: str) -> list[str]:
    """Return who else is connected to a local TCP port, as the kernel's table tells."""
    allowed = ipaddress.ip_address(peer.partition("%")[0])
    found = []
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        path = Path(table)
        lines = path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []
        for fields in map(str.split, lines):
            local, remote, state = fields[1], fields[2], int(fields[3], 16)
            if int(local.rpartition(":")[2], 16) != port or state not in (
                ESTABLISHED,
                SYN_RECEIVED,
                CLOSE_WAIT,
            ):
                continue
            address = _table_address(remote.rpartition(":")[0])
            if address != _plain(allowed):
                found.append(str(address))
    return found


def _table_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address as /proc/net/tcp writes it: words in the machine's own order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return _plain(ipaddress.ip_address(struct.pack(f"={len(words)}I", *words)))


def _plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
