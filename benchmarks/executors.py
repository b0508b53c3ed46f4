"""How fast each executor runs a network on this machine, and whether they agree.

    python -m benchmarks.executors --models mobilenet_v2,resnet18,resnet50,googlenet,inception_v3,vgg16

The same image runs three ways in turn, round by round: torchvision's module as it comes (plain eager), our torch
executor (batch norm folded, channels last) and onnxruntime. Ratios are of medians of one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.executor import TorchExecutor, describe_cpu
from models.onnx_executor import OnnxExecutor
from models.onnx_export import load_or_export
from models.sample_frame import sample_image
from models.zoo import load_model, load_network

SIX = "mobilenet_v2,resnet18,resnet50,googlenet,inception_v3,vgg16"
WARM = 2


def ways(name: str, weights: str, threads: int, directory: Path) -> dict[str, Callable[[], torch.Tensor]]:
    """Return functions that compute its logits for one image, each in its own way."""
    model = load_model(name, weights)
    units = model.network_units
    segment = model.segment(units, units[-1:])
    (entry,) = segment.inputs
    image = sample_image(model.preprocessing.crop_size)
    plain = load_network(name, weights).eval()
    torch_executor = TorchExecutor("cpu", threads)
    ours = torch_executor.compile(segment)
    onnx = OnnxExecutor(model, torch_executor, load_or_export(model, directory)).compile(segment)

    @torch.inference_mode()
    def run_plain() -> torch.Tensor:
        logits: torch.Tensor = plain(image)
        return logits

    return {
        "plain": run_plain,
        "torch": lambda: ours.execute({entry: image})[units[-1]],
        "onnxruntime": lambda: onnx.execute({entry: image})[units[-1]],
    }


def measure(runs: dict[str, Callable[[], torch.Tensor]], rounds: int) -> dict[str, Any]:
    """Run everything in turn; return medians, quartiles and how far the logits lie apart."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    logits: dict[str, torch.Tensor] = {}
    for _ in range(WARM + rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            logits[name] = run()
            times[name].append((time.perf_counter() - began) * 1e3)
    reference = logits["plain"]
    found: dict[str, Any] = {}
    for name, values in times.items():
        low, median, high = statistics.quantiles(values[WARM:], n=4)
        apart = float((logits[name] - reference).abs().max() / reference.abs().max())
        found[name] = {"ms": median, "low_ms": low, "high_ms": high, "difference": apart}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=SIX)
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("var/executors"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{describe_cpu()}, {options.threads} threads; medians of {options.rounds} in ms (quartiles)")
    print(
        f"{'model':16} {'plain eager':>22} {'torch':>22} {'onnxruntime':>22} {'plain/onnx':>11} {'torch/onnx':>11}"
    )
    rows = []
    for name in options.models.split(","):
        runs = ways(name, options.weights, options.threads, options.out)
        found = measure(runs, options.rounds)
        rows.append({"model": name, **found})
        cells = [f"{f['ms']:8.1f} ({f['low_ms']:.1f}–{f['high_ms']:.1f})".rjust(22) for f in found.values()]
        plain, ours, onnx = (f["ms"] for f in found.values())
        apart = max(f["difference"] for f in found.values())
        print(
            f"{name:16} {' '.join(cells)} {plain / onnx:11.2f} {ours / onnx:11.2f}   apart {apart:.0e}",
            flush=True,
        )
    (options.out / "executors.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
