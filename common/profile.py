"""What each unit costs on one device with one executor, as measured; saved and reused."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from common.errors import ConfigurationError
from common.files import put_aside, remove_outdated, write_atomically

FORMAT = 3
"""Version of the saved form. A file with another one is measured anew."""

MOST_KEPT = 32
"""Of one model: frame sizes, devices, executors. Beyond, those that were saved first go first, when a day old …"""
MOST_EVER = 256
"""… or, security, at once: a peer may name ever other sizes of frames, and each is measured and saved."""

MOST = 1e15
"""No time and no size is larger; numbers come from the network, too."""


@dataclass(frozen=True, slots=True)
class ModelFingerprint:
    """What must be the same on both sides: three SHA-256 digests (hex)."""

    architecture: str
    weights: str
    graph: str

    def __str__(self) -> str:
        return f"architecture {self.architecture[:12]}, weights {self.weights[:12]}, graph {self.graph[:12]}"

    @property
    def digest(self) -> str:
        """A short name for files, the same for equal fingerprints."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]

    def differences(self, other: ModelFingerprint) -> tuple[str, ...]:
        """Name the parts in which `self` and `other` differ."""
        return tuple(part for part, digest in asdict(self).items() if digest != getattr(other, part))


@dataclass(frozen=True, slots=True)
class ProfileKey:
    """What a profile is valid for. `frame` is the measured frame's size, such as `1280x720`."""

    fingerprint: ModelFingerprint
    device: str
    executor: str
    threads: int
    slowdown: float
    frame: str

    @property
    def digest(self) -> str:
        """A short name for files, the same for equal keys."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Coding:
    """What sending a tensor by `codec` came to on one device: bytes, and ms to encode and to decode it."""

    codec: str
    payload_bytes: float
    encode_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Measured time of each unit in ms, and of sending its output by the codecs that are for it, for one key.

    Unit times are rescaled so that their sum over the pre-processing and over the network equals the
    measured times of these segments run as wholes. `frame_bytes` is the size of the measured frame's file, where that
    was noted: what codecs make of other frames goes with theirs.
    """

    key: ProfileKey
    unit_ms: Mapping[str, float]
    codings: Mapping[str, tuple[Coding, ...]] = field(default_factory=dict)
    frame_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.frame_bytes is not None and not 0 < self.frame_bytes <= MOST:
            raise ValueError(f"profile: a frame of {self.frame_bytes!r:.40} bytes")
        for name, ms in self.unit_ms.items():
            if not (math.isfinite(ms) and ms >= 0):
                raise ValueError(f"profile: time of unit {name!r:.80} is {ms!r} ms, not a finite number ≥ 0")
        for name, codings in self.codings.items():
            for coding in codings:
                numbers = (coding.payload_bytes, coding.encode_ms, coding.decode_ms)
                if not all(math.isfinite(number) and 0 <= number <= MOST for number in numbers):
                    raise ValueError(
                        f"profile: {coding.codec:.40} of unit {name!r:.80} costs {numbers!r}, not finite ≥ 0"
                    )

    @property
    def total_ms(self) -> float:
        return sum(self.unit_ms.values())

    def to_json(self) -> str:
        codings = {
            unit: {c.codec: [c.payload_bytes, c.encode_ms, c.decode_ms] for c in unit_codings}
            for unit, unit_codings in self.codings.items()
        }
        document = {
            "format": FORMAT,
            "key": asdict(self.key),
            "unit_ms": dict(self.unit_ms),
            "codings": codings,  # bytes, ms to encode, ms to decode
            "frame_bytes": self.frame_bytes,
        }
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """Read what `to_json` wrote. Raises `ValueError` saying what is wrong with the text."""
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"profile: format {document['format']!r}, this version reads {FORMAT}")
            key = dict(document["key"])
            key["fingerprint"] = ModelFingerprint(**key["fingerprint"])
            unit_ms = {str(name): float(ms) for name, ms in document["unit_ms"].items()}
            codings = {
                str(unit): tuple(Coding(str(codec), *map(float, row)) for codec, row in rows.items())
                for unit, rows in document["codings"].items()
            }
            frame_bytes = document.get("frame_bytes")
            if frame_bytes is not None:
                frame_bytes = int(frame_bytes)
            return cls(ProfileKey(**key), unit_ms, codings, frame_bytes)
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"profile: not a profile document ({type(error).__name__}: {error})") from None


class ProfileStore:
    """Profiles saved as files under one directory, one for each key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def load(self, key: ProfileKey) -> Profile | None:
        """Return the saved profile for `key`; none if there is none, or if the file is unreadable or damaged.

        A damaged one is put aside.
        """
        path = self._path(key)
        try:
            profile = Profile.from_json(path.read_bytes())
        except OSError:
            return None
        except ValueError as error:
            import structlog  # the planning commands read no store, and start without what logging takes

            structlog.get_logger().warning(
                "a saved profile is of no use", path=str(path), reason=str(error), kept=str(put_aside(path))
            )
            return None
        return profile if profile.key == key else None

    def save(self, profile: Profile) -> Path:
        """Write the profile so that a reader finds the old file or the whole new one, and remove what is too many.

        Raises `ConfigurationError` where the directory cannot be written.
        """
        path = self._path(profile.key)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_atomically(path, profile.to_json())
        except OSError as error:
            raise ConfigurationError(f"cannot save the profile to {path}: {error.strerror}") from error
        of_model = f"profile-{profile.key.fingerprint.digest}-*.json"
        remove_outdated(path, of_model, newest=MOST_KEPT - 1)
        remove_outdated(path, of_model, newest=MOST_EVER - 1, least_age_s=0.0)
        remove_outdated(path, ".profile-*.json.*")  # of a process that was killed while it wrote
        return path

    def _path(self, key: ProfileKey) -> Path:
        return self.directory / f"profile-{key.fingerprint.digest}-{key.digest}.json"
