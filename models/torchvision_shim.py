"""Import torchvision beside any build of torch.

torchvision registers fake kernels for its compiled operators while it is imported. Where those operators
cannot be loaded (a CPU torch beside the package index's CUDA torchvision, a Jetson's own torch), that import
fails with `operator torchvision::nms does not exist`. Classifiers need none of the operators, so their
schemas are defined here first. Detection models still need the compiled ones.

Everything in Cleave that needs torchvision takes it from here: `from models.torchvision_shim import torchvision`.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import torch

from common.errors import ConfigurationError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []
"""Keeps the definitions alive: a Library takes them back when it is collected."""


def _operators_load(package: Path) -> bool:
    """Load torchvision's compiled operators the way torchvision does, and say whether that worked."""
    for path in sorted(package.glob("_C*.so")) + sorted(package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(path)  # type: ignore[no-untyped-call]
        except (ImportError, OSError):
            continue
        return True
    return False


def _import_torchvision() -> tuple[ModuleType, bool]:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ConfigurationError("torchvision is not installed; install it with `pip install torchvision`")
    compiled_operators = _operators_load(Path(spec.origin).parent)
    if not compiled_operators:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            name = f"torchvision::{schema.partition('(')[0]}"
            if not torch._C._dispatch_has_kernel(name):
                library.define(schema)  # type: ignore[no-untyped-call]
        _libraries.append(library)
    with warnings.catch_warnings():
        # Frames are decoded by Pillow; torchvision's own image decoder is not used, nor missed.
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        return importlib.import_module("torchvision"), compiled_operators


torchvision, compiled_operators = _import_torchvision()
"""The module, and whether its compiled operators could be loaded."""
