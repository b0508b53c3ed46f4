"""How a daemon's command runs: settings, logs, the event loop, and exit codes."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from common.config import PREFIX, Settings
from common.errors import EXIT_CONFIGURATION, CleaveError, ConfigurationError, HungError, ModelError

Chosen = TypeVar("Chosen", bound=Settings)


def read_settings(kind: type[Chosen], command: str, arguments: Sequence[str]) -> Chosen | int:
    """Read a daemon's settings, or return the exit code after having said what `arguments` asked to know."""
    rest = list(arguments)
    if "--help" in rest or "-h" in rest:
        print(
            f"usage: {command} [--SETTING VALUE …] [--print-config]\n\n"
            f"Each flag is also an environment variable: --model is {PREFIX}MODEL, the flags that are this "
            f"daemon's own\nstart with {kind.own_prefix}. --print-config shows what is in force.\n\n{kind.help()}"
        )
        return 0
    show = "--print-config" in rest
    if show:
        rest.remove("--print-config")
    try:
        settings = kind.load(os.environ, rest)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print(f"{command}: {line}", file=sys.stderr)
        return EXIT_CONFIGURATION
    if show:
        print(settings.as_environment(), end="")
        return 0
    return settings


def run_daemon(command: str, main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a daemon's main coroutine to its end; return the exit code. An error of ours is one line on stderr."""
    status, hung = 0, False
    if sys.__stderr__ is not None:
        faulthandler.enable(
            sys.__stderr__
        )  # systemd's watchdog ends what hangs by SIGABRT: say where it hung
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main())
    except* (ConfigurationError, ModelError) as group:
        _say(command, group)  # a model that cannot be traced will not be the next time, either
        status = EXIT_CONFIGURATION
    except* HungError as group:
        _say(command, group)
        hung = True
    except* CleaveError as group:
        _say(command, group)
        status = status or 1
    if hung:
        # A thread that does not end would be waited for, here or by the libraries it is in.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    return status


def _say(command: str, group: BaseExceptionGroup[Any]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _say(command, error)
        else:
            print(f"{command}: {error}", file=sys.stderr)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed; the same code runs without it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
