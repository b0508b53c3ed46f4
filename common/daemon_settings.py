"""The settings that both daemons have."""

from __future__ import annotations

from common.config import Settings, setting
from common.telemetry import LogFormat, LogLevel


class DaemonSettings(Settings):
    """The model, which must be the same on both sides, and the logs."""

    model: str = setting(
        "MODEL", help="a torchvision classifier (`resnet18`), or your own as `package.module:factory`"
    )
    weights: str = setting(
        "WEIGHTS",
        "default",
        help="`default` (torchvision's, from its cache or downloaded), `/path/file.safetensors`, "
        "or `random:SEED` (to try things out: the answers mean nothing)",
    )
    hung_after_s: float = setting(
        "HUNG_AFTER_S",
        300.0,
        gt=0,
        help="a single computation that takes longer has hung, and the daemon ends itself, to be started anew",
    )
    log_format: LogFormat = setting(
        "LOG_FORMAT", "auto", help="`auto`: readable on a terminal, JSON otherwise"
    )
    log_level: LogLevel = setting("LOG_LEVEL", "info", help="the least important events to log")
