"""Weights that depend on a seed only: the same bits on every platform and in every release."""

from __future__ import annotations

import math

import numpy as np
import torch

_BLOCK = 1 << 22
"""Values drawn at a time, so that a large layer needs little extra memory."""

_LAYERS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)


@torch.no_grad()
def fill_random(module: torch.nn.Module, seed: int) -> None:
    """Fill what the constructor drew at random, in the order of names; constants and buffers stay.

    A parameter of two or more dimensions is drawn He-uniformly (fan-in = values / first dimension), so that
    activations keep their scale; a random vector (a linear layer's bias) becomes 0. torch's own generators
    differ between CPU architectures; PCG64's raw stream is fixed.
    """
    source = np.random.PCG64(seed)
    # Layers' weights are drawn even where they are constant: ViT's constructor sets its head, and so every
    # answer, to 0.
    layers = {
        f"{name}.weight".lstrip(".") for name, layer in module.named_modules() if isinstance(layer, _LAYERS)
    }
    for name, parameter in sorted(module.named_parameters()):
        if name not in layers and _is_constant(parameter):
            continue
        if parameter.ndim < 2:
            parameter.zero_()
            continue
        bound = math.sqrt(6 * parameter.shape[0] / parameter.numel())
        values = torch.from_numpy(_uniform(source, parameter.numel(), bound))
        parameter.copy_(values.view(parameter.shape))


def _is_constant(parameter: torch.Tensor) -> bool:
    if parameter.numel() == 1:
        # One value is equal to itself. A constant (PReLU's 0.25) is a short decimal, a drawn number is not.
        value = parameter.item()
        return bool(torch.tensor(round(value, 2), dtype=parameter.dtype).item() == value)
    return parameter.numel() == 0 or bool((parameter == parameter.flatten()[0]).all())


def _uniform(
    source: np.random.PCG64, count: int, bound: float
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Draw `count` values in [-bound, bound), each from 24 bits, by operations that round at most once."""
    values = np.empty(count, dtype=np.float32)
    scale = np.float32(2 * bound)
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        words = source.random_raw((size + 1) // 2).astype("<u8").view("<u4")[:size]
        unit = (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
        values[start : start + size] = (unit - np.float32(0.5)) * scale
    return values
