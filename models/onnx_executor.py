"""Execute segments with onnxruntime: the network by ONNX, pre-processing and answer as torch does them.

frame ─► decode ─► resize ─► normalize ─► │ the network's units │ ─► answer
         torch (Pillow)                   │ onnxruntime         │    torch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
import torch

from common.errors import ModelError, PlanError
from models.agreement import AGREEMENT
from models.cancel_token import CancelToken, cancellable
from models.executor import CompiledSegment, TorchExecutor
from models.model import PREPROCESSING_UNITS, Model
from models.onnx_network import OnnxNetwork, OnnxPiece, value_name
from models.segment import Segment
from models.tensor_memory import concatenated, dense

log = structlog.get_logger()


class OnnxExecutor:
    """Runs the segments of one model on the CPU. Threads, pace and what is not ONNX are the torch executor's."""

    name = "onnxruntime"

    most_kept = 6
    """Each session has most of its weights again, rearranged."""
    compiles_anywhere = True
    fetches = False
    tolerance = AGREEMENT

    def __init__(self, model: Model, torch_executor: TorchExecutor, network: OnnxNetwork) -> None:
        self._model = model
        self._torch = torch_executor
        self._network = network
        self._units = frozenset(model.network_units)
        self.device = "cpu"
        self.device_description = torch_executor.device_description
        self.threads = torch_executor.threads
        self.slowdown = torch_executor.slowdown
        self.pace = torch_executor.pace

    @property
    def brings_threads(self) -> bool:
        """See `Executor.brings_threads`: a session has all but the one that runs it."""
        return self.threads > 1

    def compile(self, segment: Segment, *, may_use_torch: bool = True) -> OnnxSegment:
        """Make `segment` ready: at most three parts, one after another.

        Torch runs what onnxruntime refuses: a plan is worth more than its executor. Without `may_use_torch` that
        raises `ModelError`.
        """
        before = [name for name in segment.units if name in PREPROCESSING_UNITS]
        network = [name for name in segment.units if name in self._units]
        after = [
            name for name in segment.units if name not in PREPROCESSING_UNITS and name not in self._units
        ]
        parts: list[Part] = []
        for units, is_onnx in ((before, False), (network, True), (after, False)):
            if units and units != [self._model.graph.source]:
                piece = self._model.segment(units, self._handed_on(units, segment))
                parts.append(self._onnx_part(piece, may_use_torch) if is_onnx else self._torch_part(piece))
        return OnnxSegment(segment, parts, self)

    def join(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `Executor.join`: in row-major memory at once, as its parts work on it."""
        return concatenated(tensors, torch.contiguous_format)

    def fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """See `Executor.fetch`: it is there."""
        return tensor

    def stop(self) -> None:
        """End the waits of the pacing, now and from now on."""
        self._torch.stop()

    def _handed_on(self, units: Sequence[str], segment: Segment) -> list[str]:
        """Return the units whose tensors leave their part: to a later part, or out of the segment."""
        members, graph = set(units), self._model.graph
        later = set(segment.units) - members
        return [
            name
            for name in units
            if name in segment.outputs or any(reader in later for reader in graph.successors[name])
        ]

    def _torch_part(self, piece: Segment) -> Part:
        return TorchPart(self._torch.compile(piece))

    def _onnx_part(self, piece: Segment, may_use_torch: bool) -> Part:
        try:
            network_piece = self._network.extract(piece.inputs, piece.outputs)
            return OnnxPart(piece, _session(network_piece, self.threads), network_piece)
        except ModelError as error:
            if not may_use_torch:
                raise
            log.warning("a cut runs on torch instead", units=len(piece.units), reason=str(error))
            return self._torch_part(piece)


class OnnxSegment:
    """A segment on an `OnnxExecutor`."""

    def __init__(self, segment: Segment, parts: Sequence[Part], executor: OnnxExecutor) -> None:
        self.segment = segment
        self._parts = parts
        self._executor = executor

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.run`. Raises `PlanError` for a missing input, `FrameError` for a bad frame."""
        with cancellable(token):
            return self._executor.pace.run(
                lambda: {n: dense(t)[0] for n, t in self.execute(inputs, token).items()}, token
            )

    def execute(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        """See `CompiledSegment.execute`."""
        if missing := [name for name in self.segment.inputs if name not in inputs]:
            raise PlanError(f"segment of {len(self.segment.units)} units: input {missing[0]!r} is missing")
        tensors = dict(inputs)
        for part in self._parts:
            tensors |= part.execute(tensors, token)
        return {name: tensors[name] for name in self.segment.outputs}

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """See `CompiledSegment.warm`."""
        self.execute(inputs)


@dataclass(frozen=True, slots=True)
class TorchPart:
    """A part that torch executes."""

    compiled: CompiledSegment

    def execute(
        self, tensors: Mapping[str, torch.Tensor], token: CancelToken | None
    ) -> dict[str, torch.Tensor]:
        return self.compiled.execute(tensors)  # what is cancellable is so on the whole thread


@dataclass(frozen=True, slots=True)
class OnnxPart:
    """A part that onnxruntime executes. It works on row-major memory, and its outputs own theirs."""

    segment: Segment
    session: Any
    piece: OnnxPiece
    """Kept for its weights, which the session may read."""

    def execute(
        self, tensors: Mapping[str, torch.Tensor], token: CancelToken | None
    ) -> dict[str, torch.Tensor]:
        feed = {value_name(name): tensors[name].contiguous().numpy() for name in self.segment.inputs}
        try:
            wanted = [value_name(name) for name in self.segment.outputs]
            found = self.session.run(wanted, feed, _ended_by(token) if token is not None else None)
        except Exception as error:  # onnxruntime's own: no RuntimeErrors, as torch's are; handled like these
            if token is not None:
                token.raise_if_cancelled()
            raise RuntimeError(f"onnxruntime: {error}") from error
        return {
            name: torch.from_numpy(array) for name, array in zip(self.segment.outputs, found, strict=True)
        }


Part = TorchPart | OnnxPart


def _ended_by(token: CancelToken) -> Any:
    """Return options by which a run ends between two operations once `token` is cancelled."""
    from models.onnxruntime_silent import onnxruntime

    options = onnxruntime.RunOptions()
    token.when_cancelled(partial(setattr, options, "terminate", True))
    return options


def _session(piece: OnnxPiece, threads: int) -> Any:
    from models.onnxruntime_silent import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins between frames takes the core from the event loop, and from the other daemon's work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        options.add_external_initializers(list(piece.weights), list(piece.weights.values()))
        return onnxruntime.InferenceSession(piece.document, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, of many kinds
        reason = str(error).partition("\n")[0]
        raise ModelError(f"onnxruntime does not take this network: {reason}") from error
