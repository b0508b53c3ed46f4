"""Logs: one event a line, readable on a terminal, JSON otherwise."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal, TextIO, cast

import structlog

MOST_REPEATS = 20
REPEATS_S = 10.0
MOST_EVENTS = 1000
"""Names of events that are remembered."""

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logging(log_format: LogFormat, level: LogLevel, daemon: str) -> None:
    """Send all logs, the libraries' too, to stderr as `log_format` says (`auto`: by whether it is a terminal).

    The readable form is for people, so it names neither the daemon nor the date: both are plain there.
    """
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        SeldomRepeats(),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if readable else "iso", utc=not readable),
    ]
    if readable:
        shared.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28))
    else:
        shared.append(_name_daemon(daemon))
        shared.append(structlog.processors.format_exc_info)
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
        shared.append(_with_priority(render) if goes_to_journal(sys.stderr, os.environ) else render)
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # A line in one write: another thread may print between two.
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[_ToStructlog()], force=True)


class Unfailing:
    """A stream for logs: what cannot be written (the disk is full, the reader gone) is lost, and no frame with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            self._stream.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _name_daemon(daemon: str) -> structlog.typing.Processor:
    def add(
        logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["daemon"] = daemon
        return event

    return add


PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog's (RFC 5424), by our levels."""


def goes_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether a stream is the journal's, as systemd tells in JOURNAL_STREAM (systemd.exec(5)).

    A child that was started with another stderr inherits the variable, so device and inode are compared.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _with_priority(render: structlog.processors.JSONRenderer) -> structlog.typing.Processor:
    """Put its priority before each line, which the journal takes off: `journalctl -p warning` then finds it."""

    def rendered(
        logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
    ) -> str:
        level = PRIORITIES.get(str(event.get("level")), PRIORITIES["error"])
        return f"<{level}>{render(logger, method, event)!s}"

    return rendered


class SeldomRepeats:
    """Leaves out an event that has been logged `MOST_REPEATS` times within `REPEATS_S`; the next one says how many.

    A camera that sends thirty broken frames a second fills no disk, and hides nothing else: each event is counted by
    itself. Errors of ours are left out as well; what becomes of frames is in the metrics, whatever the log says.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}
        """When the present span of each event began, and how many there were in it."""

    def __call__(
        self, logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """Pass an event on. Raises `DropEvent` for one too many."""
        name, now = str(event.get("event")), self._clock()
        with self._lock:
            began, count = self._seen.get(name, (now, 0))
            left_out = 0
            if now - began >= REPEATS_S:
                began, count, left_out = now, 0, max(count - MOST_REPEATS, 0)
            if name not in self._seen and len(self._seen) >= MOST_EVENTS:
                self._seen.clear()  # libraries write numbers into their events' names
            self._seen[name] = (began, count + 1)
        if count >= MOST_REPEATS:
            raise structlog.DropEvent
        if left_out:
            event["left_out_before"] = left_out
        return event


class _ToStructlog(logging.Handler):
    """Hands the standard library's log records (asyncio's, apscheduler's) to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info)
