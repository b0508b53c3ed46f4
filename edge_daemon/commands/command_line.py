"""What the commands share: arguments that are checked, errors of one line, and a clean standard output."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from common.command_line import OneLineParser
from common.command_line import run as run
from common.errors import ConfigurationError
from common.quantities import parse_bandwidth


class Parser(OneLineParser):
    """The parser of a command of `cleave-edge`."""

    def __init__(self, command: str, description: str, epilog: str = "") -> None:
        super().__init__(f"cleave-edge {command}", description, epilog)


def bandwidth(text: str) -> float:
    """Read a bandwidth (`8mbit`) for argparse, in bit/s."""
    try:
        value = parse_bandwidth(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"not a bandwidth: {text!r} is too large")
    return value


def number(
    *, above: float = -math.inf, at_least: float = -math.inf, at_most: float
) -> Callable[[str], float]:
    """Return a reader of numbers in a range, for argparse."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (above < value and at_least <= value <= at_most):
            low = f"above {above:g}" if math.isfinite(above) else f"from {at_least:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {low} to {at_most:g}")
        return value

    return read


duration_ms = number(at_least=0, at_most=1e9)
duration_s = number(above=0, at_most=1e6)
rate_fps = number(above=0, at_most=1e6)


def write_text(path: Path, text: str) -> None:
    """Write a file that was asked for. Raises `ConfigurationError` where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error


@contextlib.contextmanager
def unprinted() -> Iterator[None]:
    """Discard what is printed meanwhile, also by native code: HiGHS writes to file descriptor 1 at will.

    The descriptor belongs to the process: only for commands, which have no threads that print.
    """
    if sys.stdout is None:  # started with standard output closed
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        # Into a pipe C prints late: without this it would come out once the descriptor is back.
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
