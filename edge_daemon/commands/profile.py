"""`cleave-edge profile`: measure what each unit of a model costs on this machine, and save it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from edge_daemon.commands.command_line import Parser, run

EXECUTORS = ("auto", "torch", "onnxruntime")


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = Parser("profile", __doc__ or "")
    parser.add_argument("--model", required=True, metavar="NAME")
    parser.add_argument("--weights", default="default", metavar="WEIGHTS", help="as CLEAVE_WEIGHTS")
    parser.add_argument("--executor", choices=EXECUTORS, default="torch")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: as torch decides")
    parser.add_argument(
        "--slowdown", type=float, default=1.0, metavar="X", help="play a device X times slower"
    )
    parser.add_argument(
        "--frame", type=Path, metavar="FILE", help="an image; by default a made-up 1280 × 720"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the profile goes (JSON)"
    )
    chosen = parser.parse_args(list(arguments))
    return run(
        parser.prog,
        lambda: profile(
            chosen.model,
            chosen.weights,
            {name: getattr(chosen, name) for name in ("executor", "device", "threads", "slowdown")},
            chosen.frame,
            chosen.out,
        ),
    )


def profile(name: str, weights: str, device: Mapping[str, Any], frame: Path | None, out: Path) -> None:
    """Measure, save to `out` and print the costliest units. Raises `ConfigurationError` for files and settings."""
    from common.files import write_atomically
    from edge_daemon.commands.local_model import Device, load_local, read_frame
    from edge_daemon.commands.progress import Progress
    from models.profiler import ProfileRun

    data = read_frame(frame)
    model, executor = load_local(name, weights, Device(**device))
    measuring = ProfileRun(model, executor, data)
    with Progress(measuring.total_steps, "measurements") as progress:
        while not measuring.step():
            progress.advance()
        progress.advance()
    found = measuring.profile()
    try:
        write_atomically(out, found.to_json())
    except OSError as error:
        raise ConfigurationError(f"{out}: {error.strerror}") from error
    print(
        f"{name} on {found.key.device}, {found.key.threads} threads, {found.key.executor}: "
        f"{found.total_ms:.1f} ms a frame"
    )
    for unit, ms in sorted(found.unit_ms.items(), key=lambda item: -item[1])[:8]:
        print(f"  {ms:9.2f} ms  {ms / found.total_ms:4.0%}  {unit}")
    print(f"saved to {out}")
