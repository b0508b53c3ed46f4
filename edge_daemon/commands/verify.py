"""`cleave-edge verify`: does cutting change the answers, on this machine, at any cut?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import CleaveError
from edge_daemon.commands.command_line import Parser, run

ALLOWED = 1e-4
"""Relative to the largest logit: what float32 sums in another order may differ by."""


class NotTheSameError(CleaveError):
    """Some cut gives other answers than the whole."""


def main(arguments: Sequence[str]) -> int:
    """Run the command: 0 when every cut agrees, 2 when one does not."""
    parser = Parser("verify", __doc__ or "")
    parser.add_argument("--model", required=True, metavar="NAME")
    parser.add_argument("--weights", default="default", metavar="WEIGHTS", help="as CLEAVE_WEIGHTS")
    parser.add_argument("--executor", choices=("torch", "onnxruntime"), default="torch")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: as torch decides")
    parser.add_argument("--frame", type=Path, metavar="FILE", help="an image; by default a made-up one")
    chosen = parser.parse_args(list(arguments))
    return run(
        parser.prog,
        lambda: verify(chosen.model, chosen.weights, chosen.executor, chosen.threads, chosen.frame),
    )


def verify(name: str, weights: str, executor_name: str, threads: int, frame: Path | None) -> None:
    """Run every legal cut and print the largest deviation. Raises `NotTheSameError` when it is too large."""
    from common.partition.closed_sets import enumerate_closed_sets
    from edge_daemon.commands.local_model import Device, load_local, read_frame
    from edge_daemon.commands.progress import Progress
    from models.verification import deviations

    data = read_frame(frame)
    model, executor = load_local(name, weights, Device(executor=executor_name, threads=threads))
    sets = enumerate_closed_sets(model.graph)
    found = []
    with Progress(len(sets) - 1, "cuts") as progress:
        for deviation in deviations(model, executor, sets, data):
            found.append(deviation)
            progress.advance()
    worst = max(found, key=lambda deviation: deviation.relative)
    exact = sum(deviation.relative == 0 for deviation in found)
    print(
        f"{name}, weights {weights}, {executor.name}: {len(found)} cuts, {exact} of them bit for bit as the whole; "
        f"largest deviation {worst.relative:.1e} of the largest logit, {worst.cut.label}"
    )
    if not worst.relative <= ALLOWED:
        raise NotTheSameError(f"{worst.cut.label} deviates by {worst.relative:.1e}, more than {ALLOWED:g}")
    sys.stdout.flush()
