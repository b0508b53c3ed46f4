"""Where a network's weights come from: torchvision, a safetensors file, or a seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from common.config import absolute
from common.errors import ConfigurationError
from models.random_weights import fill_random

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Classifiers that GoogLeNet and InceptionV3 use in training only."""
_SHOWN = 4


def parse_seed(weights: str) -> int | None:
    """Return the seed of `random:SEED`, or none for weights of another kind."""
    if not weights.startswith("random:"):
        return None
    try:
        seed = int(weights.removeprefix("random:"))
    except ValueError:
        seed = -1
    if seed < 0:
        raise ConfigurationError(f"weights {weights!r}: the seed must be a whole number ≥ 0, as in random:0")
    return seed


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a safetensors file. Raises `ConfigurationError` saying what is wrong with it."""
    if path.suffix != ".safetensors":
        raise ConfigurationError(
            f"weights {str(path)!r}: expected 'default', 'random:SEED' or a file that ends in .safetensors "
            "(other formats can carry code; convert with safetensors.torch.save_file(state_dict, path))"
        )
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ConfigurationError(f"weights {str(path)!r}: {reason}") from error


def cached_file(weights: Any) -> Path:
    """Return where torchvision keeps the file of a weights enum once it is downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def read_default(weights: Any) -> dict[str, torch.Tensor]:
    """Get a torchvision weights enum's tensors from the cache or the network, checked against their hash.

    Raises `ConfigurationError` naming the cache file where they cannot be had.
    """
    expected = cached_file(weights)
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (URLError, OSError, RuntimeError, EOFError) as error:
        raise ConfigurationError(
            f"the published weights {weights} cannot be had ({error}). Put the file of {weights.url} at "
            f"{expected}, or use weights random:0 (to try things out) or a .safetensors file"
        ) from error


def load_into(network: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Fill `network` with `tensors`, by name. Raises `ConfigurationError` naming what does not fit."""
    expected = network.state_dict()
    found = usable(tensors, expected)
    missing = [n for n in expected if n not in found and not n.endswith("num_batches_tracked")]
    surplus = [n for n in found if n not in expected]
    if missing or surplus:
        raise ConfigurationError(
            f"weights {source!r} are not of this model: {_some('missing', missing)}{_some('unknown', surplus)}"
        )
    wrong = [n for n in found if found[n].shape != expected[n].shape]
    if wrong:
        shapes = ", ".join(
            f"{n} is {list(found[n].shape)}, the model's is {list(expected[n].shape)}" for n in wrong[:_SHOWN]
        )
        raise ConfigurationError(f"weights {source!r} do not fit this model: {shapes}")
    network.load_state_dict(found, strict=False)


def usable(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Leave out auxiliary classifiers, and bring DenseNet's published names to the model's."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(_AUXILIARY) and name not in expected:
            continue
        # Published when submodules could still be named `norm.1`; torchvision renames in the same way.
        renamed = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.", name)
        found[renamed] = tensor
    return found


def other_class_count(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return the number of classes of `tensors` if only the final classifier's size differs from `network`'s."""
    expected = network.state_dict()
    found = usable(tensors, expected)
    wrong = [n for n in expected if n in found and found[n].shape != expected[n].shape]
    owners = {n.rpartition(".")[0] for n in wrong}
    counts = {found[n].shape[0] if found[n].ndim else 0 for n in wrong}
    inner_same = all(found[n].shape[1:] == expected[n].shape[1:] for n in wrong)
    return counts.pop() if len(owners) == 1 and len(counts) == 1 and inner_same else None


def initialise(
    build: Callable[[int | None], nn.Module], weights: str, default: Any
) -> tuple[nn.Module, bool]:
    """Build a network and give it `weights`; say whether the final classifier has another size than usual.

    `build` takes the number of classes (none: the usual one); `default` is a torchvision weights enum, or
    none for a module that comes with its weights.
    """
    seed = parse_seed(weights)
    network = build(None)
    if seed is not None:
        fill_random(network, seed)
        return network, False
    if weights == "default":
        if default is not None:
            load_into(network, read_default(default), str(default))
        return network, False
    try:
        path = absolute(Path(weights))
    except ValueError as error:
        raise ConfigurationError(f"CLEAVE_WEIGHTS={weights}: {error}") from None
    tensors = read_safetensors(path)
    classes = other_class_count(network, tensors)
    if classes is not None:
        network = build(classes)
    load_into(network, tensors, weights)
    return network, classes is not None


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{more}) "
