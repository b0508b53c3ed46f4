"""One crossing tensor there and a small answer back, by three channels; each end of each is a process.

    python -m benchmarks.overhead_worker ours   edge HOST PORT         (the other end is a cloud daemon)
    python -m benchmarks.overhead_worker bare   edge|cloud HOST PORT
    python -m benchmarks.overhead_worker rpc    edge|cloud HOST PORT

An edge's process is sent how many exchanges to make, a line each; the answer has their times in ms.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import warnings
from collections.abc import Callable

import torch
import torch.distributed.rpc as rpc

from benchmarks.overhead_model import CROSSING, NAME, STAGE, WEIGHTS, crossing_tensor, sliced
from benchmarks.rpc_worker import connect
from common.config import Address
from common.launch import run_daemon
from common.telemetry import configure_logging
from common.wire.messages import PROTOCOL, Hello
from edge_daemon.active_plan import prepare_request
from edge_daemon.line import UplinkEvents
from edge_daemon.uplink import Uplink
from models.crossing import from_wire, to_wire
from models.model import Model
from models.zoo import load_model

LOOPBACK = "lo"
ANSWER_BYTES = 100
"""About what an answer of ours has on the wire."""
CONNECTED_S, ANSWERED_S = 60.0, 20.0


def say_ready() -> None:
    print(json.dumps({"ready": True}), flush=True)


def answer_orders(exchange: Callable[[], object]) -> None:
    """Make as many exchanges as each line asks for, and tell their times."""
    say_ready()
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            began = time.perf_counter()
            exchange()
            times.append((time.perf_counter() - began) * 1e3)
        print(json.dumps({"ms": times}), flush=True)


# --- ours -----------------------------------------------------------------------------------------------
async def our_edge(host: str, port: int) -> None:
    """Exchange through the edge daemon's uplink, with the messages that frames travel in."""
    model = load_model(NAME, WEIGHTS)
    connected = asyncio.Event()
    events = UplinkEvents(
        up=connected.set,
        down=lambda _: None,
        measured=lambda _: None,
        round_trip=lambda _: None,
        waited=lambda _: None,
    )
    uplink = Uplink(Address(host=host, port=port), _hello(model), events)
    running = asyncio.create_task(uplink.run())
    try:
        async with asyncio.timeout(CONNECTED_S):
            await connected.wait()
        prepared = await uplink.prepare(prepare_request(1, STAGE, model.graph))
        if not prepared.ready:
            raise RuntimeError(prepared.reason)
        await _answer_orders(model, uplink)
    finally:
        running.cancel()


async def _answer_orders(model: Model, uplink: Uplink) -> None:
    graph, tensor, number = model.graph, crossing_tensor(), 0
    say_ready()
    while line := await asyncio.to_thread(sys.stdin.readline):
        times = []
        for _ in range(int(line)):
            number += 1
            began = time.perf_counter()
            entries, chunks = to_wire(graph, {CROSSING: tensor})
            reply = await uplink.infer(
                number, 1, entries, chunks, patience_s=ANSWERED_S, longest_s=ANSWERED_S
            )
            from_wire(graph, reply.answer.tensors, reply.payload)
            times.append((time.perf_counter() - began) * 1e3)
        print(json.dumps({"ms": times}), flush=True)


def _hello(model: Model) -> Hello:
    digests = model.fingerprint
    return Hello(
        protocol=PROTOCOL,
        edge="overhead",
        model=NAME,
        architecture=digests.architecture,
        weights=digests.weights,
        graph=digests.graph,
    )


# --- bare blocking sockets ------------------------------------------------------------------------------
def bare_cloud(host: str, port: int) -> None:
    """Receive tensors into one buffer, answer each, until the edge closes."""
    buffer = memoryview(bytearray(_nbytes()))
    with socket.create_server((host, port)) as listener:
        say_ready()
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while receive(connection, buffer):
                connection.sendall(bytes(ANSWER_BYTES))


def bare_edge(host: str, port: int) -> None:
    data = crossing_tensor().view(torch.uint8).numpy().data.cast("B")
    answer = memoryview(bytearray(ANSWER_BYTES))
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def exchange() -> None:
            connection.sendall(data)
            receive(connection, answer)

        answer_orders(exchange)


def receive(connection: socket.socket, into: memoryview) -> bool:
    """Fill a buffer from a connection; return whether it was filled before the other end closed."""
    have = 0
    while have < into.nbytes:
        got = connection.recv_into(into[have:])
        if not got:
            return False
        have += got
    return True


def _nbytes() -> int:
    tensor = crossing_tensor()
    return tensor.numel() * tensor.element_size()


# --- torch RPC ------------------------------------------------------------------------------------------
def rpc_cloud(host: str, port: int) -> None:
    say_ready()  # joining waits for the other end
    connect("cloud", f"{host}:{port}", LOOPBACK)
    rpc.shutdown()  # waits until the edge is done


def rpc_edge(host: str, port: int) -> None:
    connect("edge", f"{host}:{port}", LOOPBACK)
    tensor = crossing_tensor()
    answer_orders(lambda: rpc.rpc_sync("cloud", sliced, (tensor,)))
    rpc.shutdown()


ROLES: dict[tuple[str, str], Callable[[str, int], None]] = {
    ("bare", "edge"): bare_edge,
    ("bare", "cloud"): bare_cloud,
    ("rpc", "edge"): rpc_edge,
    ("rpc", "cloud"): rpc_cloud,
}


def main() -> int:
    channel, role, host, port = sys.argv[1:]
    torch.set_num_threads(1)
    if channel == "ours":
        configure_logging("json", "warning", "overhead")  # to stderr; stdout is for answers
        return run_daemon("overhead", lambda: our_edge(host, int(port)))
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="You are using a Backend", category=UserWarning)
    ROLES[channel, role](host, int(port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
