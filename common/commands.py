"""Commands of an executable beside its daemon: each a module with `main(arguments) -> int`, imported when called."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

USAGE_ERROR = 2
"""Exit status for arguments or files that a command cannot use."""


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is implemented, and what it does in a few words."""

    module: str
    summary: str


def describe(program: str, commands: Mapping[str, Command]) -> str:
    """Return the commands as lines for `--help`."""
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join([f"commands ({program} COMMAND --help tells more):", *lines])


def run(program: str, commands: Mapping[str, Command], name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit status; an unknown one is an error of one line."""
    if name not in commands:
        near = difflib.get_close_matches(name, list(commands), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(commands)}"
        print(f"{program}: {name!r} is no command; {hint}", file=sys.stderr)
        return USAGE_ERROR
    module = importlib.import_module(commands[name].module)
    return int(module.main(list(arguments)))
