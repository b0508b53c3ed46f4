"""Facts about what codecs do to the answers of a network that has learnt something."""

from __future__ import annotations

import pytest
import torch

from benchmarks.bench_bars import CODEC_CUTS
from benchmarks.digits import accuracy_and_bytes, crossing, cuts, ends_in_relu
from common.wire.codecs import is_image_codec

LOSSLESS = ("raw", "zstd", "webp-lossless")
HALF_A_POINT = 0.005


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
    relu = [cut for cut in cuts() if ends_in_relu(cut)]
    assert len(relu) >= 4
    for cut in relu:
        _, raw = accuracy_and_bytes(cut, "raw")
        _, packed = accuracy_and_bytes(cut, "int8-zstd")
        assert packed <= raw / 5, cut.label


def test_the_bar_is_about_every_cut_whose_tensor_ends_in_a_relu() -> None:
    """The benchmark names them beforehand: a cut that was not measured is missed."""
    assert tuple(cut.label for cut in cuts() if ends_in_relu(cut)) == CODEC_CUTS
