"""The commands of `cleave-edge` beside the daemon: each a module with `main(arguments) -> int`.

A module is imported only when its command is given: none of them needs the daemon, and most need no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common import commands
from common.commands import USAGE_ERROR as USAGE_ERROR
from common.commands import Command

COMMANDS: Mapping[str, Command] = {
    "plan": Command("edge_daemon.commands.plan", "say where to cut at one bandwidth, with a proof"),
    "map": Command(
        "edge_daemon.commands.map_bandwidth", "say where to cut at every bandwidth, as a table or a picture"
    ),
    "profile": Command("edge_daemon.commands.profile", "measure what a model costs on this machine"),
    "verify": Command("edge_daemon.commands.verify", "check that no cut changes a model's answers"),
    "doctor": Command(
        "edge_daemon.commands.doctor", "say what is wrong with this installation, and how to mend it"
    ),
    "pareto": Command("benchmarks.pareto", "run every cut for real on a grid of links"),
}


def describe_commands(program: str) -> str:
    """Return the commands as lines for `--help`."""
    return commands.describe(program, COMMANDS)


def run_command(program: str, name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit status; an unknown one is an error of one line."""
    return commands.run(program, COMMANDS, name, arguments)
