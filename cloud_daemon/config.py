"""The cloud daemon's settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from common.config import Address, AddressSetting, PathSetting, setting
from common.daemon_settings import DaemonSettings

STATE_DIR = Path("~/.local/state/cleave-cloud")


class CloudSettings(DaemonSettings):
    """What `cleave-cloud` is tuned by."""

    own_prefix: ClassVar[str] = "CLEAVE_CLOUD_"
    foreign_prefix: ClassVar[str] = "CLEAVE_EDGE_"

    listen: AddressSetting = setting(
        "CLOUD_LISTEN", Address(host="127.0.0.1", port=7400), help="where edges connect"
    )
    name: str = setting(
        "CLOUD_NAME", "", help="this machine's name in logs and at edges; none: its host name"
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "CLOUD_DEVICE", "auto", help="what the network runs on; `auto`: CUDA where there is one"
    )
    executor: Literal["auto", "torch", "onnxruntime"] = setting(
        "CLOUD_EXECUTOR",
        "auto",
        help="what runs the network; `auto`: the faster one, as measured at the first start (which takes longer)",
    )
    threads: int = setting("CLOUD_THREADS", 0, ge=0, help="threads of the network; 0: as torch decides")
    iperf_port: int = setting(
        "CLOUD_IPERF_PORT",
        5201,
        ge=1,
        le=65535,
        help="where the iperf3 server listens, while an edge has its turn",
    )
    state_dir: PathSetting = setting("CLOUD_STATE_DIR", STATE_DIR, help="where measured profiles are kept")
