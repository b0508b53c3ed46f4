"""The commands of `cleave-cloud` beside the daemon: each a module with `main(arguments) -> int`."""

from __future__ import annotations

from collections.abc import Mapping

from common.commands import Command

COMMANDS: Mapping[str, Command] = {
    "doctor": Command(
        "cloud_daemon.commands.doctor", "say what is wrong with this installation, and how to mend it"
    ),
    "pki": Command(
        "cloud_daemon.commands.pki", "make a private authority, and certificates for cloud and edges"
    ),
}
