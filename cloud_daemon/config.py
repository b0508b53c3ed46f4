"""The cloud daemon's settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from common.config import Address, AddressSetting, PathSetting, Settings, setting
from common.telemetry import LogFormat, LogLevel

STATE_HOME = Path("~/.local/state")


class CloudSettings(Settings):
    """What `cleave-cloud` is tuned by."""

    own_prefix: ClassVar[str] = "CLEAVE_CLOUD_"
    foreign_prefix: ClassVar[str] = "CLEAVE_EDGE_"

    model: str = setting(
        "MODEL", help="a torchvision classifier (`resnet18`), or your own as `package.module:factory`"
    )
    weights: str = setting(
        "WEIGHTS",
        "default",
        help="`default` (torchvision's, from its cache or downloaded), `/path/file.safetensors`, "
        "or `random:SEED` (to try things out: the answers mean nothing)",
    )
    listen: AddressSetting = setting(
        "CLOUD_LISTEN", Address(host="127.0.0.1", port=7400), help="where edges connect"
    )
    name: str = setting(
        "CLOUD_NAME", "", help="this machine's name in logs and at edges; none: its host name"
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "CLOUD_DEVICE", "auto", help="what the network runs on; `auto`: CUDA where there is one"
    )
    threads: int = setting("CLOUD_THREADS", 0, ge=0, help="threads of the network; 0: as torch decides")
    iperf_port: int = setting(
        "CLOUD_IPERF_PORT",
        5201,
        ge=1,
        le=65535,
        help="where the iperf3 server listens, while an edge has its turn",
    )
    state_dir: PathSetting = setting(
        "CLOUD_STATE_DIR", STATE_HOME / "cleave-cloud", help="where measured profiles are kept"
    )
    log_format: LogFormat = setting(
        "LOG_FORMAT", "auto", help="`auto`: readable on a terminal, JSON otherwise"
    )
    log_level: LogLevel = setting("LOG_LEVEL", "info", help="the least important events to log")
