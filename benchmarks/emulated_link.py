"""A link between two machines, played on one: a rate, a delay and outages for TCP, without root.

    python -m benchmarks.emulated_link --listen 127.0.0.2:7400 --target 127.0.0.1:7400 --rate 20mbit --delay-ms 5

Lines on standard input change it while it runs: `5mbit`, `off`, `on`, `unlimited`, `delay 20`, `reset`, and, in the
words of toxiproxy, `jitter 5`, `slow-close 500`, `slice 10`, `limit 100000`; 0 takes one of these away.
The rate is that of payload bytes, as iperf3 counts them; every forward and connection shares it.
Measure with iperf3's *receiver* figure: the sender's counts what is still in its own socket buffer, which the
kernel lets grow to 0.1 MB (cubic, reno) or 0.9 MB (bbr) however slow the link is.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from benchmarks.emulated_link_ports import EmulatedLink, Forward, LinkCounters
from benchmarks.emulated_link_proxy import Address
from benchmarks.emulated_link_shape import LinkShape
from common.quantities import format_bandwidth, parse_bandwidth

__all__ = ["EmulatedLink", "Forward", "LinkCounters", "LinkShape", "obey", "parse_address", "parse_forward"]

_ORDERS = (
    "5mbit (a rate), unlimited, off, on, delay 20 (milliseconds), jitter 5, slow-close 500, slice 10 (bytes), "
    "limit 100000, reset, status"
)


def parse_address(text: str) -> Address:
    """Read `host:port`, with an IPv6 host in brackets. Raises ValueError saying what is wrong."""
    host, colon, port = text.strip().rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"not an address: {text!r}; write host:port, such as 127.0.0.1:7400")
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_forward(text: str) -> Forward:
    """Read `listen=target`, both `host:port`. Raises ValueError saying what is wrong."""
    listen, equals, target = text.partition("=")
    if not equals:
        raise ValueError(f"not a forward: {text!r}; write 127.0.0.2:5201=127.0.0.1:5201")
    return Forward(listen=parse_address(listen), target=parse_address(target))


def parse_rate(text: str) -> float | None:
    """Read a bandwidth, or `unlimited` as None. Raises ValueError saying what to write."""
    return None if text.strip().lower() == "unlimited" else parse_bandwidth(text)


def describe(shape: LinkShape) -> str:
    """Show a shape in words."""
    if shape.is_cut:
        return "cut off"
    rate = "unlimited" if shape.rate_bps is None else format_bandwidth(shape.rate_bps)
    words = [rate, f"{shape.delay_ms:g} ms each way"]
    if shape.jitter_ms:
        words.append(f"{shape.jitter_ms:g} ms of jitter")
    if shape.slow_close_ms:
        words.append(f"closes {shape.slow_close_ms:g} ms late")
    if shape.slice_bytes is not None:
        words.append(f"{shape.slice_bytes} bytes each {shape.slice_gap_ms:g} ms")
    if shape.limit_bytes is not None:
        words.append(f"breaks after {shape.limit_bytes} bytes")
    return ", ".join(words)


def obey(link: EmulatedLink, line: str) -> str:
    """Carry out one line of the operator and answer it. Raises ValueError for one that is not understood."""
    words = line.lower().split()
    match words:
        case ["off" | "cut"]:
            link.cut()
        case ["on" | "restore"]:
            link.restore()
        case ["delay", milliseconds]:
            link.shape = dataclasses.replace(link.shape, delay_ms=float(milliseconds.removesuffix("ms")))
        case ["jitter", milliseconds]:
            link.shape = dataclasses.replace(link.shape, jitter_ms=float(milliseconds.removesuffix("ms")))
        case ["slow-close", milliseconds]:
            link.shape = dataclasses.replace(link.shape, slow_close_ms=float(milliseconds.removesuffix("ms")))
        case ["slice", n_bytes]:
            link.shape = dataclasses.replace(link.shape, slice_bytes=int(n_bytes) or None)
        case ["limit", n_bytes]:
            link.shape = dataclasses.replace(link.shape, limit_bytes=int(n_bytes) or None)
        case ["reset"]:
            link.reset()
            return "all connections reset"
        case ["status"]:
            counters = link.counters()
            return (
                f"{describe(link.shape)}; {counters.connections_open} open of "
                f"{counters.connections_accepted} connections; "
                f"{counters.up_bytes:,} bytes up, {counters.down_bytes:,} bytes down"
            )
        case _:
            link.set_rate(parse_rate(line))
    return describe(link.shape)


def _read_lines(on_line: Callable[[str], None]) -> None:
    # Not sys.stdin: a thread that waits inside it holds its lock and makes the interpreter abort at exit.
    # A thread, because standard input may be a file or /dev/null, which an event loop cannot wait for.
    rest = b""
    while chunk := os.read(0, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line.decode(errors="replace"))


async def _serve(forwards: Sequence[Forward], shape: LinkShape) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)

    async with EmulatedLink(forwards, shape) as link:

        def on_line(line: str) -> None:
            if line.strip():
                try:
                    print(obey(link, line), flush=True)
                except ValueError as error:
                    print(f"{error}\norders: {_ORDERS}", file=sys.stderr, flush=True)

        for address, forward in zip(link.addresses, forwards, strict=True):
            print(f"{address[0]}:{address[1]} → {forward.target[0]}:{forward.target[1]}")
        print(f"link: {describe(shape)}; orders: {_ORDERS}; Ctrl-C ends it", flush=True)
        reader = threading.Thread(
            target=_read_lines,
            args=(lambda line: loop.call_soon_threadsafe(on_line, line),),
            name="orders",
            daemon=True,  # it waits in read(2), which nothing but input ends
        )
        reader.start()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the link until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.emulated_link", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--listen", help="where clients connect, host:port")
    parser.add_argument("--target", help="where the link leads, host:port")
    parser.add_argument(
        "--forward",
        action="append",
        default=[],
        metavar="LISTEN=TARGET",
        help="one more pair; may be repeated",
    )
    parser.add_argument(
        "--rate", default="unlimited", help="such as 20mbit, 2.5MB/s, 0 or unlimited (default)"
    )
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way (default 0)")
    options = parser.parse_args(arguments)
    if (options.listen is None) != (options.target is None):
        parser.error("--listen and --target go together")
    try:
        forwards = [parse_forward(text) for text in options.forward]
        if options.listen is not None:
            listen, target = parse_address(options.listen), parse_address(options.target)
            forwards.insert(0, Forward(listen=listen, target=target))
        if not forwards:
            parser.error("say where to listen: --listen with --target, or --forward")
        shape = LinkShape(rate_bps=parse_rate(options.rate), delay_ms=options.delay_ms)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(forwards, shape))
    except OSError as error:
        print(f"the link cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
