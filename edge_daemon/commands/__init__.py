"""The commands of `cleave-edge` beside the daemon: each a module with `main(arguments) -> int`.

A module is imported only when its command is given: none of them needs the daemon, and most need no torch.
"""

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


COMMANDS: Mapping[str, Command] = {
    "plan": Command("edge_daemon.commands.plan", "say where to cut at one bandwidth, with a proof"),
    "map": Command(
        "edge_daemon.commands.map_bandwidth", "say where to cut at every bandwidth, as a table or a picture"
    ),
    "profile": Command("edge_daemon.commands.profile", "measure what a model costs on this machine"),
    "verify": Command("edge_daemon.commands.verify", "check that no cut changes a model's answers"),
    "pareto": Command("benchmarks.pareto", "run every cut for real on a grid of links"),
}


def describe_commands(program: str) -> str:
    """Return the commands as lines for `--help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([f"commands ({program} COMMAND --help tells more):", *lines])


def run_command(program: str, name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit status; an unknown one is an error of one line."""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, list(COMMANDS), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"
        print(f"{program}: {name!r} is no command; {hint}", file=sys.stderr)
        return USAGE_ERROR
    module = importlib.import_module(COMMANDS[name].module)
    return int(module.main(list(arguments)))
