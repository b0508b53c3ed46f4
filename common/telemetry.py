"""Logs: one event a line, readable on a terminal, JSON otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logging(log_format: LogFormat, level: LogLevel, daemon: str) -> None:
    """Send all logs, the libraries' too, to stderr as `log_format` says (`auto`: by whether it is a terminal).

    The readable form is for people, so it names neither the daemon nor the date: both are plain there.
    """
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if readable else "iso", utc=not readable),
    ]
    if readable:
        shared.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28))
    else:
        shared.append(_name_daemon(daemon))
        shared.append(structlog.processors.format_exc_info)
        shared.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[_ToStructlog()], force=True)


def _name_daemon(daemon: str) -> structlog.typing.Processor:
    def add(
        logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        event["daemon"] = daemon
        return event

    return add


class _ToStructlog(logging.Handler):
    """Hands the standard library's log records (asyncio's, apscheduler's) to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info)
