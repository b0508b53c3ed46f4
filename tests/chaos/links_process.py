"""Emulated links in a process of their own, which obeys orders: whoever gives them may fork daemons meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from benchmarks.emulated_link import EmulatedLink, Forward, obey
from tests.forks import end_with_parent

READY = b"."


class LinksProcess:
    """A fork that plays links by name. Use it as a context manager."""

    def __init__(self, links: Mapping[str, Sequence[Forward]]) -> None:
        self._links = links
        self._orders = -1
        self._pid = 0

    def __enter__(self) -> LinksProcess:
        orders, self._orders = os.pipe()
        ready, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                os.setsid()
                end_with_parent()
                os.close(self._orders)
                asyncio.run(_play(self._links, orders, theirs))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.close(orders)
        os.close(theirs)
        said = os.read(ready, 1)
        os.close(ready)
        if said != READY:
            raise RuntimeError("the links did not start")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._orders)
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)

    def order(self, name: str, what: str) -> None:
        """Give one link an order, in the words of `benchmarks.emulated_link`."""
        os.write(self._orders, f"{name} {what}\n".encode())


async def _play(links: Mapping[str, Sequence[Forward]], orders: int, ready: int) -> None:
    """Play the links until whoever gives orders ends this process or itself."""
    playing = {name: EmulatedLink(forwards) for name, forwards in links.items()}
    for link in playing.values():
        await link.start()
    os.write(ready, READY)
    os.close(ready)
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(orders, "rb"))
    while line := await reader.readline():
        name, _, what = line.decode().partition(" ")
        obey(playing[name], what.strip())
