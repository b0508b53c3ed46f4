"""The edge daemon's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator

from common import limits
from common.config import Address, AddressOrOffSetting, AddressSetting, PathSetting, absolute, setting
from common.daemon_settings import DaemonSettings
from edge_daemon.picture_edit import Crop
from edge_daemon.sinks.addresses import MqttSetting, WebhookSetting
from edge_daemon.source_address import FORMS, SourceAddress

SourceSetting = Annotated[SourceAddress, BeforeValidator(SourceAddress.parse)]
CropSetting = Annotated[Crop, BeforeValidator(Crop.parse)]


def _with_a_home(results: str) -> str:
    absolute(Path(results))
    return results


ResultsSetting = Annotated[str, AfterValidator(_with_a_home)]
"""As it was written: `-` is no path."""

STATE_DIR = Path("~/.local/state/cleave-edge")


class EdgeSettings(DaemonSettings):
    """What `cleave-edge` is tuned by."""

    own_prefix: ClassVar[str] = "CLEAVE_EDGE_"
    foreign_prefix: ClassVar[str] = "CLEAVE_CLOUD_"

    source: SourceSetting = setting(
        "EDGE_SOURCE",
        values=", ".join(f"`{form}`" for form in FORMS),
        help="where frames come from. Of a directory of images what is there is taken in the order of names, then "
        "what arrives; of cameras, streams and videos tells [cameras.md](cameras.md)",
    )
    source_credentials: PathSetting | None = setting(
        "EDGE_SOURCE_CREDENTIALS",
        None,
        values="path",
        help="file that holds `user:password` of a stream, in one line, as it is; read each time it is connected to",
    )
    rotate: Literal["0", "90", "180", "270"] = setting(
        "EDGE_ROTATE", "0", help="degrees that a camera's or video's picture is turned by, clockwise"
    )
    crop: CropSetting | None = setting(
        "EDGE_CROP",
        None,
        values="x,y,width,height",
        help="part of the (turned) picture of a camera or video that is the frame, in pixels from the upper left",
    )
    results: ResultsSetting = setting(
        "EDGE_RESULTS", "-", help="file the results are appended to, one JSON object a line; `-`: stdout"
    )
    results_rotate_mb: float = setting(
        "EDGE_RESULTS_ROTATE_MB",
        0.0,
        ge=0,
        help="a results file that would become larger is renamed to `RESULTS.000001` and so on, and a new one begun; "
        "0: never. What is kept is read at the start; what is deleted is forgotten, see docs/operations.md",
    )
    results_keep: int = setting("EDGE_RESULTS_KEEP", 8, ge=1, help="full results files that are kept")
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
    adapt_rate: bool = setting(
        "EDGE_ADAPT_RATE",
        False,
        help="1: while no cut keeps `CLEAVE_EDGE_SAMPLING_FPS`, take as many frames as the best one sustains",
    )
    when_drained: Literal["wait", "exit"] = setting(
        "EDGE_WHEN_DRAINED", "wait", help="once every file there is has its result: wait for more, or exit"
    )
    delivery: Literal["auto", "every", "latest"] = setting(
        "EDGE_DELIVERY",
        "auto",
        help="`every`: each frame has exactly one result, and frames wait for whatever is slow; `latest`: what "
        "counts is the newest one, older ones that have not been begun are dropped and counted; `auto`: `every` of a "
        "directory or video, `latest` of a camera or stream, which is the only one these have",
    )
    max_age_s: float = setting(
        "EDGE_MAX_AGE_S",
        limits.MAX_FRAME_AGE_S,
        gt=0,
        help="seconds; a camera's frame that is older when it could be taken is dropped and counted",
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
    mqtt: MqttSetting | None = setting(
        "EDGE_MQTT",
        None,
        values="mqtt[s]://host[:port][/prefix]",
        hidden=True,
        help="broker that is told of every record, see docs/sinks.md: topics `PREFIX/EDGE/result`, `…/status` and "
        "`…/state`, with the prefix `cleave` if none is given. Needs the package aiomqtt",
    )
    mqtt_login: PathSetting | None = setting(
        "EDGE_MQTT_LOGIN",
        None,
        values="file",
        help="holds the user in its first line, the password in its second",
    )
    mqtt_ca: PathSetting | None = setting(
        "EDGE_MQTT_CA",
        None,
        values="file",
        help="holds the certificates (PEM) of the authorities trusted with `mqtts`; none: the system's",
    )
    mqtt_discovery: str = setting(
        "EDGE_MQTT_DISCOVERY",
        "homeassistant",
        pattern=r"^[^+#$][^+#]*$",
        values="topic, `off`",
        help="topic under which Home Assistant looks for devices",
    )
    webhook: WebhookSetting | None = setting(
        "EDGE_WEBHOOK",
        None,
        values="http[s]://…, `@FILE`",
        hidden=True,
        help="URL that batches of records are posted to, see docs/sinks.md; `@FILE`: a file that holds it, as it "
        "may be a secret",
    )
    webhook_secret: PathSetting | None = setting(
        "EDGE_WEBHOOK_SECRET",
        None,
        values="file",
        help="holds what batches are signed with (HMAC-SHA256), at least 16 characters; none: they are not signed",
    )
    webhook_ca: PathSetting | None = setting(
        "EDGE_WEBHOOK_CA",
        None,
        values="file",
        help="holds the certificates (PEM) of the authorities trusted with `https`; none: the system's",
    )
    webhook_batch: int = setting("EDGE_WEBHOOK_BATCH", 50, ge=1, le=1000, help="records in a batch at most")
    webhook_wait_s: float = setting(
        "EDGE_WEBHOOK_WAIT_S", 1.0, ge=0, le=3600, help="seconds that a batch waits to be full"
    )
    spool_mb: float = setting(
        "EDGE_SPOOL_MB",
        64.0,
        gt=0,
        help="MiB of records that may wait in the state directory for each of broker and webhook; beyond, the oldest "
        "are dropped",
    )
    spool_records: int = setting(
        "EDGE_SPOOL_RECORDS", 100_000, ge=1, help="records that may wait for each of them; beyond, the same"
    )
    annotated: PathSetting | None = setting(
        "EDGE_ANNOTATED",
        None,
        values="directory",
        help="where frames with their label drawn on them are put (JPEG); none: nowhere",
    )
    annotated_keep: int = setting(
        "EDGE_ANNOTATED_KEEP", 100, ge=1, help="annotated frames that are kept, the newest"
    )
    annotated_fps: float = setting(
        "EDGE_ANNOTATED_FPS", 1.0, gt=0, le=30, help="frames that are annotated per second at most"
    )
