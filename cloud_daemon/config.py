"""The cloud daemon's settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from common.config import Address, AddressOrOffSetting, AddressSetting, PathSetting, setting
from common.daemon_settings import DaemonSettings

STATE_DIR = Path("~/.local/state/cleave-cloud")


class CloudSettings(DaemonSettings):
    """What `cleave-cloud` is tuned by."""

    own_prefix: ClassVar[str] = "CLEAVE_CLOUD_"
    foreign_prefix: ClassVar[str] = "CLEAVE_EDGE_"

    models: str = setting(
        "CLOUD_MODELS",
        "",
        values="`NAME[=WEIGHTS][,NAME[=WEIGHTS] …]`",
        help="models served beside `CLEAVE_MODEL`, each with `CLEAVE_WEIGHTS` unless it has its own; "
        "an edge gets the one that it holds",
    )
    listen: AddressSetting = setting(
        "CLOUD_LISTEN", Address(host="127.0.0.1", port=7400), help="where edges connect"
    )
    tls: PathSetting | None = setting(
        "CLOUD_TLS",
        None,
        values="directory",
        help="holds `cert.pem`, `key.pem` and `ca.pem`, as `cleave-cloud pki issue --cloud` makes them: edges then "
        "need a certificate of the same authority. Read again on SIGHUP",
    )
    allow: str = setting(
        "CLOUD_ALLOW",
        "",
        values="`NAME[,NAME …]`, `@FILE`",
        help="edges that are let in, by the names in their certificates; none: all that have one. `@FILE` has a name "
        "a line, and is read again on SIGHUP",
    )
    insecure: bool = setting(
        "CLOUD_INSECURE",
        False,
        help="1: listen beyond this machine without TLS; whoever reaches the port may use this cloud and read the "
        "frames",
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
    precision: Literal["float32", "float16", "bfloat16"] = setting(
        "CLOUD_PRECISION",
        "float32",
        help="what the network computes in on CUDA; in half precision answers differ from the edge's, whatever the "
        "edge allows to be lossy",
    )
    threads: int = setting("CLOUD_THREADS", 0, ge=0, help="threads of the network; 0: as torch decides")
    batch_max: int = setting(
        "CLOUD_BATCH_MAX",
        8,
        ge=1,
        le=64,
        help="frames run together at most, whichever edges they come from; fewer where more are no faster",
    )
    batch_wait_ms: float = setting(
        "CLOUD_BATCH_WAIT_MS",
        0.0,
        ge=0,
        le=1000,
        help="how long a frame waits for others to run with, while other edges send such; "
        "0: it runs with those that are there",
    )
    receive_mb: int = setting(
        "CLOUD_RECEIVE_MB",
        1024,
        ge=64,
        help="memory in MiB for the tensors of all edges' frames, here or coming in; a frame beyond is told Busy",
    )
    iperf_port: int = setting(
        "CLOUD_IPERF_PORT",
        5201,
        ge=1,
        le=65535,
        help="where the iperf3 server listens, while an edge has its turn",
    )
    http: AddressOrOffSetting = setting(
        "CLOUD_HTTP",
        Address(host="127.0.0.1", port=7490),
        values="host:port, `off`",
        help="where health, metrics and the page are served; beyond this machine only with a token",
    )
    http_token: PathSetting | None = setting(
        "CLOUD_HTTP_TOKEN",
        None,
        values="file",
        help="holds the token (16 characters at least) that whoever wants to see the page must know",
    )
    state_dir: PathSetting = setting("CLOUD_STATE_DIR", STATE_DIR, help="where measured profiles are kept")

    @field_validator("models")
    @classmethod
    def _names_no_empty_model(cls, value: str) -> str:
        for entry in filter(None, value.split(",")):
            name, equals, weights = entry.partition("=")
            if not name.strip() or (equals and not weights.strip()):
                raise ValueError(f"{entry.strip()!r} is not NAME or NAME=WEIGHTS")
        return value

    @property
    def served(self) -> tuple[tuple[str, str], ...]:
        """The models served, each once, as pairs of name and weights; `CLEAVE_MODEL` is the first."""
        pairs = [(self.model, self.weights)]
        for entry in filter(str.strip, self.models.split(",")):
            name, _, weights = entry.partition("=")
            pairs.append((name.strip(), weights.strip() or self.weights))
        return tuple(dict.fromkeys(pairs))
