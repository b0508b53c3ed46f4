"""Measure what it takes to send each unit's output by each codec that is for it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import torch

from common import limits
from common.graph import TensorSpec
from common.profile import Coding
from common.wire import codecs
from models.codecs import decode, encode
from models.tensor_memory import spec_of

RUNS = 3
"""Of each codec on each tensor; the median counts."""
LEAST_BYTES = 2_048
"""Smaller tensors fit into two packets: no codec is worth its time there."""

MOST_LOSSLESS_BYTES = limits.MIB
"""A larger image is a whole photograph: lossless, it is longer than the file that it came as, and takes long."""


def offered(spec: TensorSpec | None) -> tuple[str, ...]:
    """Return the codecs to measure for tensors of this type and shape; none for what is not worth it."""
    if spec is None or spec.nbytes < LEAST_BYTES:
        return ()
    fitting = (codec for codec in codecs.OFFERED if codecs.fits(codec, spec))
    if spec.dtype != "uint8":
        return tuple(fitting)
    large = spec.nbytes > MOST_LOSSLESS_BYTES
    return tuple(c for c in fitting if c != codecs.ZSTD and not (large and c == codecs.WEBP_LOSSLESS))


class CodingRun:
    """Measures the codecs of tensors that it is given one after another, run by run."""

    def __init__(self, clock: Callable[[], float], slowdown: float) -> None:
        self._clock = clock
        self._slowdown = slowdown
        self.codings: dict[str, tuple[Coding, ...]] = {}

    def steps(self, unit: str, tensor: torch.Tensor) -> Iterator[None]:
        """Measure all codecs of one unit's output: `RUNS` steps for each of `offered`."""
        found: list[Coding] = []
        for codec in offered(spec_of(tensor)):
            encode_s, decode_s = [], []
            for _ in range(RUNS):
                began = self._clock()
                encoded = encode(codec, tensor)
                between = self._clock()
                decode(encoded.entry(0), encoded.data)
                encode_s.append(between - began)
                decode_s.append(self._clock() - between)
                yield
            found.append(
                Coding(
                    codec,
                    encoded.nbytes,
                    statistics.median(encode_s) * self._slowdown * 1e3,
                    statistics.median(decode_s) * self._slowdown * 1e3,
                )
            )
        if found:
            self.codings[unit] = tuple(found)
