"""The command `cleave-cloud`: the daemon, or one of the commands beside it."""

from __future__ import annotations

import sys

from cloud_daemon.commands import COMMANDS
from common import commands

COMMAND = "cleave-cloud"


def main() -> int:
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        return commands.run(COMMAND, COMMANDS, arguments[0], arguments[1:])
    return _run_daemon(arguments)


def _run_daemon(arguments: list[str]) -> int:
    from cloud_daemon.config import CloudSettings
    from common.heap import decline_huge_pages
    from common.launch import read_settings, run_daemon
    from common.signals import leave_at_once_on_signals
    from common.telemetry import configure_logging

    settings = read_settings(CloudSettings, COMMAND, arguments)
    if isinstance(settings, int):
        if {"-h", "--help"} & set(arguments):
            print(f"\n{commands.describe(COMMAND, COMMANDS)}")
        return settings
    configure_logging(settings.log_format, settings.log_level, COMMAND)
    leave_at_once_on_signals()
    decline_huge_pages()
    from cloud_daemon.daemon import run  # torch takes seconds to import, --print-config needs none

    return run_daemon(COMMAND, lambda: run(settings))


if __name__ == "__main__":
    sys.exit(main())
