"""Rows of sections that measure one part: channel, executors, codecs, tails on a GPU, the cloud. Times in ms."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.bench_rows import Floats, Spread, ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadRow:
    """One crossing tensor to the other process and a small answer back, over loopback, by one channel."""

    channel: str
    payload_bytes: int
    rounds: tuple[Floats, ...]

    @property
    def key(self) -> str:
        return self.channel

    @property
    def spread(self) -> Spread:
        return Spread.of(tuple(ms for visit in self.rounds for ms in visit))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorRow:
    """One network, run whole in three ways in turn."""

    model: str
    plain: Spread
    torch: Spread
    onnxruntime: Spread
    difference: float
    """Between the logits, as a share of the largest."""

    @property
    def key(self) -> str:
        return self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcRow:
    """One cut on one link, through both daemons and through RPC."""

    model: str
    link: str
    cut: str
    ours_ms: float
    rpc_ms: float
    ours_fps: float
    rpc_fps: float

    @property
    def key(self) -> str:
        return f"{self.link} {self.cut}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecRow:
    """int8 with packing at one cut of a trained network. Encoding is on the slow edge, decoding in the cloud."""

    cut: str
    raw_bytes: float
    packed_bytes: float
    raw_accuracy: float
    accuracy: float
    encode_ms: float
    decode_ms: float
    saved_ms: float
    """Of the transfer."""

    @property
    def key(self) -> str:
        return self.cut

    @property
    def of_raw(self) -> float:
        return ratio(self.packed_bytes, self.raw_bytes)

    @property
    def of_saved(self) -> float:
        """What encoding and decoding cost, as a share of the transfer time that they save."""
        return ratio(self.encode_ms + self.decode_ms, self.saved_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaRow:
    """A batch of frames through the cloud's queue on a GPU, beside two bare forward passes of the same batch."""

    model: str
    device: str
    batch: int
    ran_in: tuple[int, ...]
    """The batch sizes that the daemon ran the frames in."""
    daemon: Spread
    plain: Spread
    """torchvision's network as it comes."""
    own: Spread
    """Our tail alone, as a CUDA graph where that gains."""

    @property
    def key(self) -> str:
        return str(self.batch)

    @property
    def bare_ms(self) -> float:
        """The bare forward pass: the faster one."""
        return min(self.plain.median, self.own.median)

    @property
    def of_bare(self) -> float:
        return ratio(self.daemon.median, self.bare_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyRow:
    """Many edges on one cloud, all under one cut, beside the cloud's executor alone, round by round."""

    model: str
    cut: str
    executor: str
    edges: int
    payload_bytes: int
    batches: tuple[int, ...]
    """The sizes that most frames ran in."""
    fps: Floats
    """Answers to all edges together."""
    alone_fps: Floats
    """Of the executor in a bare loop, in the batch sizes that the cloud had just used."""
    slowest: Floats
    """The slowest edge's answers, as a share of the mean."""
    busy: int
    failed: int

    @property
    def key(self) -> str:
        return self.cut

    @property
    def of_alone(self) -> float:
        """The rate as a share of the executor's alone, the median of the rounds."""
        pairs = zip(self.fps, self.alone_fps, strict=True)
        return statistics.median(ratio(fps, alone, without=0.0) for fps, alone in pairs)

    @property
    def of_mean(self) -> float:
        """The slowest edge's share of the mean, the median of the rounds."""
        return statistics.median(self.slowest)
