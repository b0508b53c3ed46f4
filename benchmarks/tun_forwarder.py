"""The process between two TUN devices: it carries IP packets from each to the other as two packet wires say.

    python -m benchmarks.tun_forwarder EDGE_FD CLOUD_FD PARENT_PID

Orders come on standard input, a line each: `RATE_BPS DELAY_MS`; each is answered, on standard output, with the line
that was obeyed. The first begins forwarding; the end of the input, or the parent's, ends the process.

It is a process of its own so that nothing its parent computes delays a packet.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import time

from benchmarks.tun_wire import PacketWire, WireShape
from common.child_process import end_with_parent

MOST_S = 24 * 3600
"""Longer than any comparison."""
READ_BYTES = 2048
"""More than a packet: the devices have Ethernet's MTU (see `tun_link`)."""
LOOK_S = 0.00025
"""How long it sleeps between two looks at the devices while packets are on the way, which then come and leave in
groups of so much time (a network card does the same). Waking for each packet took twice the processor's time, which
the hosts that are joined here compute with, to be 0.2 ms more exact."""
BATCH = 32
"""Packets read from one device before what has landed is looked at again: more than come between two looks."""
ORDERS = 0


def main() -> int:
    edge, cloud, parent = map(int, sys.argv[1:])
    end_with_parent(parent, MOST_S)
    gc.disable()  # nothing here makes cycles, and a collection would delay packets
    with contextlib.suppress(PermissionError):
        # As an interrupt would in a kernel: a packet's time has come however busy the machine is. It sleeps
        # between packets, and does not spin.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    if line := sys.stdin.readline():
        shape = read_order(line)
        wires = {edge: (PacketWire(shape), cloud), cloud: (PacketWire(shape), edge)}
        print(line, end="", flush=True)
        forward(wires)
    return 0


def read_order(line: str) -> WireShape:
    """Read `RATE_BPS DELAY_MS`. Raises ValueError for anything else, and for numbers that no link has."""
    rate_bps, delay_ms = map(float, line.split())
    return WireShape(rate_bps=rate_bps, delay_ms=delay_ms)


def forward(wires: dict[int, tuple[PacketWire, int]]) -> None:
    """Carry packets until the orders end. `wires`: for each device the wire from it, and the device at its end."""
    clock = time.perf_counter
    while True:
        for wire, end in wires.values():
            for packet in wire.landed(clock()):
                deliver(end, packet)
        timeout_s = None
        if wakes := [wake_s for wire, _ in wires.values() if (wake_s := wire.wake_s()) is not None]:
            time.sleep(LOOK_S)
            timeout_s = max(0.0, min(wakes) - clock())
        # select, since poll and epoll round up to milliseconds, in which a fast link sends many packets.
        ready, _, _ = select.select((*wires, ORDERS), (), (), timeout_s)
        now_s = clock()
        for device in ready:
            if device != ORDERS:
                take_in(device, wires[device][0], now_s)
            elif line := sys.stdin.readline():
                shape = read_order(line)
                for wire, _ in wires.values():
                    wire.reshape(shape, now_s)
                print(line, end="", flush=True)
            else:
                return


def take_in(device: int, wire: PacketWire, now_s: float) -> None:
    """Put what waits in a device onto its wire."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(BATCH):
            wire.offer(os.read(device, READ_BYTES), now_s)


def deliver(device: int, packet: bytes) -> None:
    """Hand a packet to the host behind a device; it is lost where that takes none (no room, or taken down)."""
    with contextlib.suppress(OSError):
        os.write(device, packet)


if __name__ == "__main__":
    sys.exit(main())
