"""First passes over a traced network: no identities, no in-place operators, no foldable BatchNorm, any layout.

A crossing tensor is read by the tail and, on the edge, perhaps by a later unit: nothing may overwrite it. So
every operator is made to work out of place here; `units.allow_inplace` gives back what is provably harmless.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.errors import ModelError
from models.shapes import Sightings, TensorSeen
from models.torchvision_shim import torchvision

_IDENTITY_MODULES = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
_IDENTITY_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    functional.dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    functional.alpha_dropout,
    functional.feature_alpha_dropout,
    torch.dropout,
    torchvision.ops.stochastic_depth,
)
_IN_PLACE_OPERATORS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def purify(traced: fx.GraphModule, sightings: Sightings) -> None:
    """Rewrite `traced`, a network in eval mode, itself. The modules it was traced from stay as they are.

    Raises `ModelError` for operators that write into an argument and have no form that does not.
    """
    _drop_identities(traced)
    _work_out_of_place(traced, sightings)
    _fold_batch_norms(traced)
    _allow_any_layout(traced)
    traced.graph.eliminate_dead_code()
    traced.recompile()


def _drop_identities(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        if node.op == "call_module":
            identity = isinstance(traced.get_submodule(node.target), _IDENTITY_MODULES)
        else:
            identity = node.op == "call_function" and node.target in _IDENTITY_FUNCTIONS and _in_eval(node)
        if identity:
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
        elif node.op == "call_function" and node.target is torch._assert:
            # Assertions are about shapes; the shapes are known, and checked, when the model is loaded.
            traced.graph.erase_node(node)


def _in_eval(node: fx.Node) -> bool:
    """Say whether a dropout call was traced with `training=False` (its only boolean besides `inplace`)."""
    if "training" in node.kwargs:
        return node.kwargs["training"] is False
    if "train" in node.kwargs:
        return node.kwargs["train"] is False
    booleans = [argument for argument in node.args if isinstance(argument, bool)]
    return bool(booleans) and booleans[0] is False


def _work_out_of_place(traced: fx.GraphModule, sightings: Sightings) -> None:
    for node in list(traced.graph.nodes):
        if "out" in node.kwargs:
            raise ModelError(f"{node.name!r} writes into an argument (out=…); such a model cannot be cut")
        if not _make_out_of_place(traced, node) or not isinstance(sightings[node].at_two, TensorSeen):
            continue
        # Until now, whoever read the written tensor after this node read it as this node left it.
        written, later = node.all_input_nodes[0], False
        for reader in list(traced.graph.nodes):
            if later and written in reader.all_input_nodes:
                reader.replace_input_with(written, node)
            later = later or reader is node


def _make_out_of_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Rewrite one node, and say whether it had worked in place."""
    if node.op == "call_module":
        return _make_module_out_of_place(traced, node)
    if node.op == "call_method":
        name = str(node.target)
        if not name.endswith("_") or name.endswith("__"):
            return False
        if not hasattr(torch.Tensor, name[:-1]):
            raise ModelError(f"{node.name!r} writes into its tensor by `{name}`; such a model cannot be cut")
        node.target = name[:-1]
        return True
    if node.op != "call_function":
        return False
    if node.target in (operator.setitem, setattr):
        raise ModelError(f"{node.name!r} writes into a part of a tensor; such a model cannot be cut")
    if (replacement := _IN_PLACE_OPERATORS.get(cast(Callable[..., Any], node.target))) is not None:
        node.target = replacement
        return True
    if _is_activation_function(node):
        return _clear_inplace_argument(node)
    return False


def _make_module_out_of_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    module = traced.get_submodule(str(node.target))
    if not hasattr(module, "inplace"):
        return False
    in_place = bool(module.inplace)
    # Its own copy for each call: one call may work in place again later, another may not.
    module = copy.copy(module)
    module.inplace = False  # type: ignore[assignment]
    calls = [
        other for other in traced.graph.nodes if other.op == "call_module" and other.target == node.target
    ]
    if len(calls) > 1:
        node.target = _free_target(traced, str(node.target))
    traced.add_submodule(str(node.target), module)
    return in_place


def _free_target(traced: fx.GraphModule, target: str) -> str:
    taken = {name for name, _ in traced.named_modules()}
    return next(name for i in count(1) if (name := f"{target}_{i}") not in taken)


def _is_activation_function(node: fx.Node) -> bool:
    name = getattr(node.target, "__name__", "")
    writes = name.endswith("_") and not name.endswith("__")
    return writes or "inplace" in node.kwargs or is_functional_activation(node)


ACTIVATIONS: Mapping[str, int] = {
    "relu": 1,
    "relu6": 1,
    "hardswish": 1,
    "hardsigmoid": 1,
    "silu": 1,
    "mish": 1,
    "selu": 1,
    "leaky_relu": 2,
    "elu": 2,
    "celu": 2,
    "hardtanh": 3,
}
"""torch.nn.functional's activations with an `inplace` argument, and that argument's position."""


def is_functional_activation(node: fx.Node) -> bool:
    """Say whether a node calls one of `ACTIVATIONS`; `torch.relu`, or a user's own, has the name and no `inplace`."""
    name = getattr(node.target, "__name__", "")
    return node.op == "call_function" and name in ACTIVATIONS and node.target is getattr(functional, name)


def _clear_inplace_argument(node: fx.Node) -> bool:
    name = str(getattr(node.target, "__name__", ""))
    if name.endswith("_"):
        for namespace in (functional, torch):
            if hasattr(namespace, name[:-1]):
                node.target = getattr(namespace, name[:-1])
                return True
        raise ModelError(f"{node.name!r} writes into its argument by `{name}`; such a model cannot be cut")
    position = ACTIVATIONS.get(name, len(node.args))
    in_place = bool(node.kwargs.get("inplace", node.args[position] if len(node.args) > position else False))
    node.args = node.args[:position]
    node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    return in_place


def _fold_batch_norms(traced: fx.GraphModule) -> None:
    """Fold each BatchNorm into the convolution that alone feeds it."""
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or len(node.all_input_nodes) != 1:
            continue
        before = node.all_input_nodes[0]
        if before.op != "call_module" or len(before.users) != 1 or calls[before.target] != 1:
            continue
        norm, layer = traced.get_submodule(node.target), traced.get_submodule(str(before.target))
        if not isinstance(norm, _BATCH_NORMS) or norm.running_mean is None:
            continue
        if not isinstance(layer, _CONVOLUTIONS):
            continue
        traced.add_submodule(str(before.target), fuse_conv_bn_eval(layer, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)


def _allow_any_layout(traced: fx.GraphModule) -> None:
    """Store convolutions' weights channels last, and let no operator depend on the layout that follows.

    Measured on one x86 core, that takes 5–50% off (GoogLeNet 59 → 30 ms, ResNet18 42 → 33 ms). `view` refuses
    such tensors where `reshape` copies; elsewhere the two are the same.
    """
    for target in {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}:
        module = traced.get_submodule(target)
        if isinstance(module, nn.Conv2d):
            # A copy: the original network's own code may call `view`.
            converted = copy.deepcopy(module)
            converted.weight.data = converted.weight.data.contiguous(memory_format=torch.channels_last)
            traced.add_submodule(target, converted)
    for node in traced.graph.nodes:
        changes_type = any(
            isinstance(argument, torch.dtype) for argument in (*node.args, *node.kwargs.values())
        )
        if node.op == "call_method" and node.target == "view" and not changes_type:
            node.target = "reshape"
            node.kwargs = {"shape": node.kwargs["size"]} if "size" in node.kwargs else {}
