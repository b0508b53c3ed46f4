"""The command `cleave-cloud`."""

from __future__ import annotations

import sys

from cloud_daemon.config import CloudSettings
from common.launch import read_settings, run_daemon
from common.signals import leave_at_once_on_signals
from common.telemetry import configure_logging

COMMAND = "cleave-cloud"


def main() -> int:
    settings = read_settings(CloudSettings, COMMAND, sys.argv[1:])
    if isinstance(settings, int):
        return settings
    configure_logging(settings.log_format, settings.log_level, COMMAND)
    leave_at_once_on_signals()
    from cloud_daemon.daemon import run  # here: torch takes seconds to import, --print-config needs none

    return run_daemon(COMMAND, lambda: run(settings))


if __name__ == "__main__":
    sys.exit(main())
