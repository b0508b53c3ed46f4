"""Run a coroutine as a test's body: under a hard limit, with errors in the loop's callbacks failing the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

LIMIT_S = 30.0
"""No test takes this long; it ends one that waits for what never comes."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {
    "asyncio": None,
    "uvloop": uvloop.new_event_loop,
}
"""Both event loops that the daemons run under."""


def run(main: Coroutine[Any, Any, None], loop: str = "uvloop") -> None:
    """Run `main` to its end. Whatever the loop's exception handler hears of fails the test."""
    complaints: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(asyncio.wait_for(main, LIMIT_S))
    assert complaints == []


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    while not condition():  # noqa: ASYNC110 (the condition is somebody else's state)
        await asyncio.sleep(0.002)
