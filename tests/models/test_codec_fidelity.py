"""Facts about what codecs do to the answers of a network that has learnt something."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from benchmarks.digits import trained
from common.plan import Cut
from common.wire.codecs import is_image_codec
from models.codecs import decode, encode
from models.executor import CompiledSegment, TorchExecutor
from models.preprocess import as_frame

LOSSLESS = ("raw", "zstd", "webp-lossless")
HALF_A_POINT = 0.005


@cache
def cuts() -> tuple[Cut, ...]:
    """After the resized image, and after every network unit that crosses alone."""
    graph = trained().model.graph
    every = [Cut.of(graph, graph.names[:count]) for count in range(3, len(graph))]
    return tuple(cut for cut in every if len(cut.crossing) == 1 and cut.crossing != ("normalize",))


@cache
def compiled(units: tuple[str, ...], output: str) -> CompiledSegment:
    return TorchExecutor(threads=1).compile(trained().model.segment(units, [output]))


@cache
def crossing(cut: Cut) -> tuple[torch.Tensor, ...]:
    """What crosses, for every frame that was not trained on."""
    (unit,) = cut.crossing
    head = compiled(cut.edge_units, unit)
    source = trained().model.graph.source
    return tuple(head.run({source: as_frame(frame)})[unit] for frame in trained().frames)


@cache
def accuracy_and_bytes(cut: Cut, codec: str) -> tuple[float, float]:
    """Return the share of right classes with `codec` in between, and the mean bytes of a frame."""
    (unit,), sink = cut.crossing, trained().model.graph.sink
    tail = compiled(cut.cloud_units, sink)
    right = total = 0
    for tensor, wanted in zip(crossing(cut), trained().classes, strict=True):
        encoded = encode(codec, tensor)
        answer = tail.run({unit: decode(encoded.entry(0, tensor), encoded.data)})[sink]
        right += int(answer[0, 0, 0]) == wanted
        total += encoded.nbytes
    return right / len(trained().classes), total / len(trained().classes)


def test_the_network_has_learnt_to_read_digits() -> None:
    """It is right on nineteen of twenty digits that it has not seen, at least: there is something to lose."""
    accuracy, _ = accuracy_and_bytes(cuts()[0], "raw")
    assert accuracy >= 0.95


@pytest.mark.parametrize(
    "codec", ["zstd", "f16", "f16-zstd", "int8", "int8-zstd", "webp-lossless", "jpeg90", "webp80"]
)
def test_a_codec_keeps_the_accuracy_within_half_a_point(codec: str) -> None:
    """At every cut that it is for, and exactly where it loses nothing."""
    looked_at = 0
    for cut in cuts():
        tensor = crossing(cut)[0]
        if is_image_codec(codec) != (tensor.dtype == torch.uint8):
            continue
        raw, _ = accuracy_and_bytes(cut, "raw")
        with_codec, _ = accuracy_and_bytes(cut, codec)
        looked_at += 1
        if codec in LOSSLESS:
            assert with_codec == raw
        assert with_codec >= raw - HALF_A_POINT, cut.label
    assert looked_at >= (1 if is_image_codec(codec) else 5)


def test_int8_with_packing_is_a_fifth_of_float32_where_a_relu_ends_the_unit() -> None:
    """Most activations of a trained network are zero: the bytes are at most a fifth, over all frames."""
    relu = [cut for cut in cuts() if crossing(cut)[0].dim() == 4 and float(crossing(cut)[0].min()) == 0.0]
    assert len(relu) >= 4
    for cut in relu:
        _, raw = accuracy_and_bytes(cut, "raw")
        _, packed = accuracy_and_bytes(cut, "int8-zstd")
        assert packed <= raw / 5, cut.label
