"""What tells a network's computation from others': its digest is the same on every platform and in every process.

What an answer depends on is here, or in the weights' digest: operators, their arguments, links and settings here,
tensors that are saved with the weights there, and tensors that are not saved (a plain attribute, a table that the
constructor computes) here.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from models.preprocess import Preprocessing

_SUMS = 4
_STEPS = 1000
"""In one unit of a sum (see `_told_apart`)."""
_SEED = 20190429


def digest_architecture(traced: fx.GraphModule, preprocessing: Preprocessing, saved: Collection[str]) -> str:
    """Hash (SHA-256) operators, their arguments and links, and the pre-processing; nothing that a platform decides.

    `saved` names the tensors that are hashed with the weights (`digest_weights`): of these only the names count.
    """
    position = {node: i for i, node in enumerate(traced.graph.nodes)}
    document: list[Any] = [repr(preprocessing)]
    for node in traced.graph.nodes:
        if node.op == "call_module":
            what: Any = [str(node.target), _settings(traced.get_submodule(node.target))]
        elif node.op == "get_attr":
            unsaved = node.target not in saved
            what = [str(node.target), *(_told_apart(_attribute(traced, node)) if unsaved else ())]
        else:
            what = str(node.target if isinstance(node.target, str) else getattr(node.target, "__name__", ""))
        arguments = fx.map_arg((node.args, node.kwargs), lambda source: f"%{position[source]}")
        document.append([node.op, what, repr(arguments)])
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def _settings(module: nn.Module) -> list[Any]:
    """List kinds and settings of a module and all in it.

    Not every module tells its settings in `extra_repr` (attention's number of heads). Private attributes are left
    out: they follow from public ones, and come and go with torch's versions.
    """
    found: list[Any] = []
    for name, part in module.named_modules():
        public = {
            key: _plain(value)
            for key, value in sorted(vars(part).items())
            if not key.startswith("_") and key != "training"
        }
        told = {key: value for key, value in public.items() if value is not None}
        found.append([name, type(part).__name__, part.extra_repr(), told])
    return found


def _plain(value: object) -> str | None:
    """Return how a setting is written; none for what is no plain value: tensors, modules, types."""
    if inspect.isroutine(value):  # an encoder layer's activation
        return value.__name__
    return repr(value) if isinstance(value, bool | int | float | str) else None


def _attribute(traced: fx.GraphModule, node: fx.Node) -> Any:
    path, _, name = str(node.target).rpartition(".")
    return getattr(traced.get_submodule(path), name)


def _told_apart(value: Any) -> list[Any]:
    """Tell a tensor's type, shape and values from others', by what a last bit of a value does not change.

    Whole numbers and truth values count as they are. A table of sines, say, may differ in the last bit between
    platforms, and of a hundred thousand values that are rounded some always lie at the edge of a step. So it is a
    few sums of them, each with weights of its own drawn from a fixed seed: in units of the largest value and of the
    root of their number, which is how such sums grow.
    """
    if not isinstance(value, torch.Tensor):
        return [type(value).__name__]
    tensor = value.detach().cpu().resolve_conj()
    told: list[Any] = [str(tensor.dtype), list(tensor.shape)]
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if not tensor.is_floating_point():
        return [*told, hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()]
    values = tensor.to(torch.float64).flatten().numpy()
    odd = np.where(np.isnan(values), 3, np.where(np.isinf(values), np.sign(values), 0)).astype(np.int8)
    values = np.where(odd == 0, values, 0.0)  # a mask's minus infinities count by their places
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    source = np.random.PCG64(_SEED)  # the raw stream is the same in every release
    sums = [
        float(values @ _weights(source, values.size)) / (largest * max(values.size, 1) ** 0.5)
        for _ in range(_SUMS)
    ]
    return [
        *told,
        hashlib.sha256(odd.tobytes()).hexdigest(),
        f"{largest:.2e}",
        *(round(one * _STEPS) for one in sums),
    ]


def _weights(source: np.random.PCG64, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Draw `count` numbers from -1 to 1."""
    return (source.random_raw(count) >> np.uint64(32)).astype(np.float64) / 2**31 - 1
