"""The bars that the pair is held to: their limits, what each is measured at, and what a verdict on one is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.bench_rows import MODELS, RATES_BPS

POINTS = len(MODELS) * len(RATES_BPS)
REGRET, REGRET_SHARE, REGRET_WORST, AGAINST_ENDS = 1.05, 0.90, 1.15, 1.05
PREDICTION, PREDICTION_SHARE = 0.10, 0.90

THROUGHPUT_MODELS = ("resnet18", "googlenet", "vgg16")
STAGES = ("edge", "link", "cloud")
OF_BOTTLENECK, OF_IPERF = 0.93, 0.95

OURS, BARE, RPC = "ours", "bare sockets", "torch RPC"
OF_BARE, RPC_FACTOR = 1.5, 1.5

ADAPTATION_MODELS = ("resnet18", "resnet50", "vgg16")
WALK_BPS = (50e6, 4e6, 50e6, 4e6, 50e6)
REPLANNED_WITHIN_S = 1.0

ONNX_FACTOR, ONNX_MODELS = 1.3, 4

CODEC_CUTS = ("after stem.0", "after add", "after wider.0", "after add_1")
OF_RAW, POINTS_LOST, OF_SAVED = 0.2, 0.005, 0.15

CUDA_MODELS = ("resnet50", "inception_v3")
CUDA_OF_BARE, CUDA_BATCH = 1.2, 8

MANY_CUTS = (
    ("resnet18", "after add_3"),
    ("resnet18", "after add_6"),
    ("mobilenet_v2", "after features.7.conv.1.0"),
)
MANY_EDGES = 16
OF_ALONE, OF_MEAN = 0.9, 0.7

ROUNDS: Mapping[str, int] = {
    "regret": 4,
    "throughput": 3,
    "overhead": 20,
    "executors": 20,
    "rpc": 3,
    "cuda": 30,
    "many": 9,
}
"""Of each section that has any."""
_WEIGHTS: Mapping[str, str | float] = {"weights": "random:0"}
_PAIR: Mapping[str, str | float] = {**_WEIGHTS, "slowdown": 8.0, "executor": "auto"}
AS_JUDGED: Mapping[str, Mapping[str, str | float]] = {
    "regret": {**_PAIR, "rounds": ROUNDS["regret"]},
    "throughput": {**_PAIR, "rounds": ROUNDS["throughput"], "batch_max": 1},
    "overhead": {"rounds": ROUNDS["overhead"]},
    "adaptation": _PAIR,
    "executors": {**_WEIGHTS, "rounds": ROUNDS["executors"]},
    "codecs": {"slowdown": 8.0},
    "rpc": {**_WEIGHTS, "slowdown": 4.0, "rounds": ROUNDS["rpc"]},
    "cuda": {**_WEIGHTS, "rounds": ROUNDS["cuda"]},
    "many": {**_WEIGHTS, "executor": "onnxruntime", "edges": MANY_EDGES, "rounds": ROUNDS["many"]},
}
"""The settings that the bars mean, by section. A run may have others, and its report says so."""


class State(StrEnum):
    MET = "met"
    MISSED = "**not met**"
    PARTLY = "met as far as measured"
    OPEN = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar: what it asks, what was found."""

    bar: str
    state: State
    found: str


def state_of(met: bool, whole: bool = True) -> State:
    """Return the state of a bar that was measured, at all that it is about (`whole`) or at some of it."""
    return (State.MET if whole else State.PARTLY) if met else State.MISSED
