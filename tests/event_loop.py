"""Run a coroutine as a test's body: under a hard limit, with errors in the loop's callbacks failing the test."""

from __future__ import annotations

import asyncio
import warnings
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
    """Run `main` to its end. What the loop's exception handler hears of, or is left open, fails the test."""
    complaints: list[dict[str, Any]] = []
    runner = asyncio.Runner(loop_factory=LOOPS[loop])
    try:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(_limited(main))
    finally:
        # Warnings as errors would make uvloop forget to close what is open, and wait for it for ever.
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always", ResourceWarning)
            runner.close()
    assert not complaints, complaints
    assert not left_open, [str(warning.message) for warning in left_open]


async def _limited(main: Coroutine[Any, Any, None]) -> None:
    await asyncio.wait_for(main, LIMIT_S)
    for _ in range(20):
        await asyncio.sleep(0)  # what was closed at the end is closed then, under TLS too


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    while not condition():  # noqa: ASYNC110 (the condition is somebody else's state)
        await asyncio.sleep(0.002)
