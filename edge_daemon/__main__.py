"""The command `cleave-edge`."""

from __future__ import annotations

import sys

from common.launch import read_settings, run_daemon
from common.telemetry import configure_logging
from edge_daemon.config import EdgeSettings

COMMAND = "cleave-edge"


def main() -> int:
    settings = read_settings(EdgeSettings, COMMAND, sys.argv[1:])
    if isinstance(settings, int):
        return settings
    configure_logging(settings.log_format, settings.log_level, COMMAND)
    from edge_daemon.daemon import run  # here: torch takes seconds to import, --print-config needs none

    return run_daemon(COMMAND, lambda: run(settings))


if __name__ == "__main__":
    sys.exit(main())
