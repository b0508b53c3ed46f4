"""The model, the executor and the frame that a command works with on this machine. Imported only when it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigurationError
from edge_daemon.config import STATE_DIR
from models.choose_executor import choose_executor
from models.device import make_executor
from models.executor import Executor
from models.model import Model
from models.sample_frame import sample_frame
from models.zoo import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the model runs on."""

    executor: str
    device: str = "cpu"
    threads: int = 0
    slowdown: float = 1.0


def load_local(name: str, weights: str, device: Device) -> tuple[Model, Executor]:
    """Load the model and its executor. Raises `ConfigurationError` for what the operator can mend."""
    torch_executor = make_executor(device.device, device.threads, device.slowdown)
    model = load_model(name, weights)
    return model, choose_executor(device.executor, model, torch_executor, STATE_DIR.expanduser())


def read_frame(path: Path | None) -> bytes:
    """Return the bytes of an image file, or of a made-up one. Raises `ConfigurationError` for an unreadable file."""
    try:
        return path.read_bytes() if path else sample_frame()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
