"""The command `cleave-edge`: the daemon, or one of the commands beside it."""

from __future__ import annotations

import sys

from edge_daemon.commands import describe_commands, run_command

COMMAND = "cleave-edge"


def main() -> int:
    arguments = sys.argv[1:]
    if arguments and not arguments[0].startswith("-"):
        return run_command(COMMAND, arguments[0], arguments[1:])
    return _run_daemon(arguments)


def _run_daemon(arguments: list[str]) -> int:
    # All imported here: a command such as `plan` answers within what these alone take to import.
    from common.heap import decline_huge_pages
    from common.launch import read_settings, run_daemon
    from common.signals import leave_at_once_on_signals
    from common.telemetry import configure_logging
    from edge_daemon.config import EdgeSettings

    settings = read_settings(EdgeSettings, COMMAND, arguments)
    if isinstance(settings, int):
        if {"-h", "--help"} & set(arguments):
            print(f"\n{describe_commands(COMMAND)}")
        return settings
    configure_logging(settings.log_format, settings.log_level, COMMAND)
    leave_at_once_on_signals()
    decline_huge_pages()
    from edge_daemon.daemon import run  # torch takes seconds to import, --print-config needs none

    return run_daemon(COMMAND, lambda: run(settings))


if __name__ == "__main__":
    sys.exit(main())
