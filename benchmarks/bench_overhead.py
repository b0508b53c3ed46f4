"""What the channel itself costs: one crossing tensor there, a small answer back, by three channels in turn."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_bars import BARE, OURS, ROUNDS, RPC
from benchmarks.bench_link import core_prefixes
from benchmarks.bench_part_rows import OverheadRow
from benchmarks.bench_rows import Floats
from benchmarks.bench_worker import Worker
from benchmarks.overhead_model import NAME, SIDE, WEIGHTS
from benchmarks.pair import Cloud, free_port

HOST = "127.0.0.1"
PAYLOAD_BYTES = math.prod((3, SIDE, SIDE, 4))
_MODULE = "benchmarks.overhead_worker"
_CHANNELS = {BARE: "bare", RPC: "rpc"}


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds of turns, and exchanges in each, of which the first are not counted."""

    rounds: int = ROUNDS["overhead"]
    exchanges: int = 20
    warm: int = 3


class Overhead:
    """The three channels, both ends of each, edges on one core and clouds on another."""

    def __init__(
        self, work: Path, cores: tuple[int, ...], effort: Effort, say: Callable[[str], None]
    ) -> None:
        self._work = work
        self._on_edge, self._on_cloud = core_prefixes(cores)
        self._effort = effort
        self._say = say

    async def run(self) -> list[OverheadRow]:
        """Return a row for each channel."""
        async with AsyncExitStack() as stack:
            edges = {OURS: await self._ours(stack)}
            for channel, name in _CHANNELS.items():
                edges[channel] = await self._other(stack, name)
            rounds = await self._take_turns(edges)
        return [
            OverheadRow(channel=channel, payload_bytes=PAYLOAD_BYTES, rounds=tuple(found))
            for channel, found in rounds.items()
        ]

    async def _ours(self, stack: AsyncExitStack) -> Worker:
        cloud = Cloud(
            self._work,
            host=HOST,
            port=free_port(),
            prefix=self._on_cloud,
            CLEAVE_MODEL=NAME,
            CLEAVE_WEIGHTS=WEIGHTS,
            CLEAVE_CLOUD_THREADS=1,
            CLEAVE_CLOUD_EXECUTOR="torch",
            CLEAVE_CLOUD_DEVICE="cpu",
            CLEAVE_CLOUD_IPERF_PORT=free_port(),
        )
        await stack.enter_async_context(cloud)
        await cloud.listening()
        host, port = cloud.address
        return await stack.enter_async_context(
            Worker(_MODULE, ["ours", "edge", host, str(port)], self._on_edge)
        )

    async def _other(self, stack: AsyncExitStack, name: str) -> Worker:
        port = str(free_port())
        cloud = Worker(_MODULE, [name, "cloud", HOST, port], self._on_cloud)
        await stack.enter_async_context(cloud)
        return await stack.enter_async_context(Worker(_MODULE, [name, "edge", HOST, port], self._on_edge))

    async def _take_turns(self, edges: dict[str, Worker]) -> dict[str, list[Floats]]:
        rounds: dict[str, list[Floats]] = {channel: [] for channel in edges}
        order = list(edges)
        effort = self._effort
        for number in range(effort.rounds):
            random.Random(number).shuffle(order)
            for channel in order:
                answer = await edges[channel].ask(str(effort.warm + effort.exchanges))
                rounds[channel].append(tuple(answer["ms"][effort.warm :]))
            self._say(f"round {number + 1} of {effort.rounds}")
        return rounds
