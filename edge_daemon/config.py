"""The edge daemon's settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from common.config import Address, AddressOrOffSetting, AddressSetting, PathSetting, setting
from common.daemon_settings import DaemonSettings

STATE_DIR = Path("~/.local/state/cleave-edge")


class EdgeSettings(DaemonSettings):
    """What `cleave-edge` is tuned by."""

    own_prefix: ClassVar[str] = "CLEAVE_EDGE_"
    foreign_prefix: ClassVar[str] = "CLEAVE_CLOUD_"

    source: PathSetting = setting(
        "EDGE_SOURCE",
        help="directory of images: what is there is taken in the order of names, then what arrives",
    )
    results: str = setting(
        "EDGE_RESULTS", "-", help="file the results are appended to, one JSON object a line; `-`: stdout"
    )
    cloud: AddressSetting = setting(
        "EDGE_CLOUD", Address(host="127.0.0.1", port=7400), help="where the cloud daemon listens"
    )
    tls: PathSetting | None = setting(
        "EDGE_TLS",
        None,
        values="directory",
        help="holds `cert.pem`, `key.pem` and `ca.pem`, as `cleave-cloud pki issue` makes them: the cloud is then "
        "connected to by TLS, with these. Read again on SIGHUP",
    )
    name: str = setting(
        "EDGE_NAME",
        "",
        help="this machine's name in the cloud's logs; none: its host name. Under TLS it is the certificate's name, "
        "and need not be set",
    )
    sampling_fps: float = setting(
        "EDGE_SAMPLING_FPS", 0.0, ge=0, help="frames taken per second; 0: as fast as possible"
    )
    when_drained: Literal["wait", "exit"] = setting(
        "EDGE_WHEN_DRAINED", "wait", help="once every file there is has its result: wait for more, or exit"
    )
    delivery: Literal["every", "latest"] = setting(
        "EDGE_DELIVERY",
        "every",
        help="`every`: each file has exactly one result, and frames wait for whatever is slow; `latest`: what "
        "counts is the newest file, older ones that have not been begun are dropped and counted (a camera)",
    )
    plan: str = setting(
        "EDGE_PLAN",
        "auto",
        pattern=r"^(auto|edge-only|cloud-only|after .+|@.+)$",
        values="`auto`, `edge-only`, `cloud-only`, `after UNIT [as CODEC] [+ …]`, `@FILE`",
        help="`auto`: cut where it is best now; the others fix the plan. `after` names the units whose tensors "
        "cross, and their codecs if not raw; `@FILE` is a file that holds one of these and may change",
    )
    lossy: Literal["off", "f16", "int8", "image", "auto"] = setting(
        "EDGE_LOSSY",
        "off",
        help="what crossing tensors may lose to be shorter: nothing; precision (`f16`, or down to `int8`); "
        "as images, what JPEG and WebP take; `auto`: any of these. Only cuts whose answers agree are used",
    )
    min_agreement: float = setting(
        "EDGE_MIN_AGREEMENT",
        0.99,
        gt=0,
        le=1,
        help="share of calibration frames on which a lossy cut must name the same class as the whole model does",
    )
    replan_interval_s: float = setting(
        "EDGE_REPLAN_INTERVAL_S", 5.0, ge=0.2, help="seconds between two looks at link and load"
    )
    in_flight: int = setting(
        "EDGE_IN_FLIGHT",
        4,
        ge=1,
        le=4,
        help="frames worked on at a time; more than one overlaps head, link and tail",
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "EDGE_DEVICE", "auto", help="what the network runs on; `auto`: CUDA where there is one"
    )
    executor: Literal["auto", "torch", "onnxruntime"] = setting(
        "EDGE_EXECUTOR",
        "auto",
        help="what runs the network; `auto`: the faster one, as measured at the first start (which takes longer)",
    )
    threads: int = setting("EDGE_THREADS", 0, ge=0, help="threads of the network; 0: as torch decides")
    slowdown: float = setting(
        "EDGE_SLOWDOWN",
        1.0,
        ge=1,
        le=1000,
        help="paces all computing by this factor, to play a weaker device",
    )
    http: AddressOrOffSetting = setting(
        "EDGE_HTTP",
        Address(host="127.0.0.1", port=7480),
        values="host:port, `off`",
        help="where health, metrics and the page are served; beyond this machine only with a token",
    )
    http_token: PathSetting | None = setting(
        "EDGE_HTTP_TOKEN",
        None,
        values="file",
        help="holds the token (16 characters at least) that whoever wants to see the page must know",
    )
    state_dir: PathSetting = setting(
        "EDGE_STATE_DIR",
        STATE_DIR,
        help="where measured profiles and `status.json` are kept",
    )
