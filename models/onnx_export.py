"""Export a model's network to ONNX: once, for that takes seconds, and then from the file that was saved."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from common.errors import ConfigurationError, ModelError
from common.files import remove_outdated, write_atomically
from models.model import Model
from models.onnx_network import BATCH, OnnxNetwork, value_name

FORMAT = "values are called unit:NAME, batches of any size"
HOW_TO_INSTALL = "`make setup` or `make install-…` bring it, or pip install onnxruntime onnx onnxscript"


OTHERS_KEPT = 2
"""Networks of models that are not served, each as large as its weights: one goes back to the weights before, and
commands look at other models in a daemon's directory."""


def why_not() -> str | None:
    """Return why onnxruntime cannot be used here; none if it can."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        from models.onnxruntime_silent import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"{error.name or error} is not installed ({HOW_TO_INSTALL})"
    return None


def versions() -> dict[str, str]:
    """Return the versions of what exports and runs networks, where `why_not` has found nothing missing.

    As the modules tell them: which package brought one (onnxruntime-gpu, onnxruntime-openvino) is nobody's concern.
    """
    import onnx
    import onnxscript

    from models.onnxruntime_silent import onnxruntime

    return {module.__name__: str(module.__version__) for module in (torch, onnx, onnxscript, onnxruntime)}


def load_or_export(model: Model, directory: Path, served: Iterable[Model] = ()) -> OnnxNetwork:
    """Return the model's ONNX network: the saved one, or exported now and saved in `directory`.

    Networks there of other models and versions go when one is saved, but for those of `served` and the newest.
    Raises `ModelError` for a network that cannot be exported, and `ConfigurationError` where ONNX is missing.
    """
    if reason := why_not():
        raise ConfigurationError(f"executor onnxruntime: {reason}")
    import onnx
    from google.protobuf.message import DecodeError

    path = _path(directory, model)
    with contextlib.suppress(OSError, DecodeError, ModelError):
        kept = OnnxNetwork(onnx.load_model_from_string(path.read_bytes()))
        if kept.names == {value_name(unit) for unit in model.network_units}:
            return kept
    document = export(model)
    with contextlib.suppress(OSError):  # it is good for this run
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(path, document)
        spared = [_path(directory, other) for other in served]
        remove_outdated(path, "network-*.onnx", spared=spared, newest=OTHERS_KEPT)
        remove_outdated(path, ".network-*.onnx.*")  # of a process that was killed while it wrote
    network = onnx.load_model_from_string(document)
    del document  # as large as the network: it is taken apart in as little memory as may be
    return OnnxNetwork(network)


def _path(directory: Path, model: Model) -> Path:
    return directory / f"network-{model.fingerprint.digest}-{_exporter_digest()}.onnx"


def export(model: Model) -> bytes:
    """Export the model's network with every unit's tensor as an output of its name.

    It takes batches of any size, or of one where the exporter can make no more of the network.
    """
    try:
        return _export(model, any_batch=True)
    except ModelError:
        return _export(model, any_batch=False)


def _export(model: Model, *, any_batch: bool) -> bytes:
    units = model.network_units
    segment = model.segment(units, units)
    (entry,) = segment.inputs
    spec = model.graph[entry].output
    assert spec is not None
    shape = (2, *spec.shape[1:]) if any_batch else spec.shape  # a batch of one would be taken for a constant
    example = torch.zeros(shape, dtype=getattr(torch, spec.dtype))
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                segment.module,
                (example,),
                dynamo=True,
                input_names=[value_name(entry)],
                output_names=[value_name(unit) for unit in units],
                dynamic_shapes=({0: torch.export.Dim(BATCH, min=1)},) if any_batch else None,
                verbose=False,
            )
        except Exception as error:  # of many kinds, from several packages
            reason = str(error).partition("\n")[0]
            raise ModelError(f"{model.name} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    try:
        document: bytes = program.model_proto.SerializeToString()
    except Exception as error:  # protobuf's, above 2 GiB
        raise ModelError(f"{model.name} cannot be exported to ONNX: {error}") from error
    return document


def _exporter_digest() -> str:
    """A short name of the versions that an export depends on, its naming of values among them."""
    found = versions()
    parts = [FORMAT, *(found[name] for name in ("torch", "onnx", "onnxscript"))]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about its own use of torch off the log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
