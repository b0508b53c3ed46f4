"""The commands of `cleave-cloud` beside the daemon: each a module with `main(arguments) -> int`."""

from __future__ import annotations

from collections.abc import Mapping

from common.commands import Command

COMMANDS: Mapping[str, Command] = {
    "pki": Command(
        "cloud_daemon.commands.pki", "make a private authority, and certificates for cloud and edges"
    ),
}
