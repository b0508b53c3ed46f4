"""What all commands share: arguments that are checked, and errors of one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from common.commands import USAGE_ERROR
from common.errors import CleaveError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage, and that guesses no abbreviations."""

    def __init__(self, prog: str, description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {' '.join(message.split())}\n")


def run(program: str, work: Callable[[], None]) -> int:
    """Do a command's work; return the exit status. What goes wrong on purpose is one line on stderr."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name still gets it
    try:
        work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except CleaveError as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
