"""Load a model by name: any torchvision classifier, or the user's own."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from common.errors import ConfigurationError
from models.model import Model, digest_weights
from models.preprocess import Preprocessing
from models.torchvision_shim import torchvision
from models.weights import cached_file, initialise, parse_seed


@dataclass(frozen=True, slots=True)
class UserModel:
    """What a user's factory may return: a module mapping float32[N, 3, S, S] to logits [N, classes], its
    pre-processing (by default ImageNet's at 224 pixels), and its labels (by default `class 17`)."""

    module: nn.Module
    preprocess: Preprocessing = Preprocessing()  # noqa: RUF009 (frozen, so one instance serves all)
    labels: tuple[str, ...] | None = None


def classifier_names() -> tuple[str, ...]:
    """Name all of torchvision's classifiers."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def load_model(name: str, weights: str, *, crop_size: int | None = None, join: bool = True) -> Model:
    """Load a model, trace it and gather its units.

    `name` is a torchvision classifier (`resnet18`) or `package.module:factory`, a callable without arguments
    that returns a module or a `UserModel`. `weights` is `default` (torchvision's published ones; a factory's
    as it returns them), a .safetensors file, or `random:SEED` (the same bits on every platform). `crop_size`
    overrides the input's side in pixels; without `join` every operator is a unit (see `units.gather`).
    Raises `ConfigurationError` for what the operator can mend, and `ModelError` for a network that cannot be
    traced or cut.
    """
    network, preprocessing, labels = _load(name, weights, crop_size)
    return Model(
        name=name,
        weights=weights,
        network=network,
        preprocessing=preprocessing.scaled_to(crop_size) if crop_size else preprocessing,
        labels=labels,
        join=join,
        # Buffers that a constructor computes may differ in the last bit between platforms.
        weights_digest=digest_weights(network, buffers=parse_seed(weights) is None),
    )


def load_network(name: str, weights: str) -> nn.Module:
    """Load the network alone, as torchvision or its factory builds it: what a traced model is compared with."""
    network, _, _ = _load(name, weights, None)
    return network.eval()


def published_weights_file(name: str) -> Path | None:
    """Return where the published weights of a torchvision classifier lie, or will; none for a user's own model.

    Raises `ConfigurationError` for a name that is none.
    """
    return None if ":" in name else cached_file(_default_weights(name))


def _load(
    name: str, weights: str, crop_size: int | None
) -> tuple[nn.Module, Preprocessing, tuple[str, ...] | None]:
    """Return the network with its weights, its pre-processing, and its labels where they are known."""
    if ":" in name:
        own = _user_model(name)
        preprocessing, labels, default = own.preprocess, own.labels, None
        build = _given(own.module)
    else:
        default = _default_weights(name)
        preprocessing, labels = _preprocessing(default), tuple(default.meta["categories"])
        build = _builder(name, default, crop_size)
    network, resized = initialise(build, weights, default)
    return network, preprocessing, None if resized or labels is None else tuple(labels)


def _default_weights(name: str) -> Any:
    names = classifier_names()
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see `torchvision.models.list_models()`"
        raise ConfigurationError(
            f"model {name!r} is no torchvision classifier: {hint} Your own model is `package.module:factory`"
        )
    return torchvision.models.get_model_weights(name).DEFAULT


def _preprocessing(default: Any) -> Preprocessing:
    steps = default.transforms()
    return Preprocessing(
        crop_size=steps.crop_size[0],
        resize_size=steps.resize_size[0],
        mean=tuple(steps.mean),
        std=tuple(steps.std),
        interpolation=str(steps.interpolation.value),
    )


def _builder(name: str, default: Any, crop_size: int | None) -> Callable[[int | None], nn.Module]:
    """Return the constructor with the arguments under which published weights fit, whatever the weights."""
    arguments: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Their published weights expect inputs scaled to [-1, 1] inside the network.
        arguments = {"transform_input": True, "aux_logits": False, "init_weights": False}
    elif name.startswith("vgg"):
        arguments = {"init_weights": False}
    elif name.startswith("vit_"):
        arguments = {"image_size": crop_size or default.meta["min_size"][0]}
    elif name.startswith("maxvit") and crop_size:
        arguments = {"input_size": (crop_size, crop_size)}

    def build(classes: int | None) -> nn.Module:
        size = {} if classes is None else {"num_classes": classes}
        try:
            module = torchvision.models.get_model(name, weights=None, **arguments, **size)
        except ValueError as error:
            raise ConfigurationError(f"model {name!r} at {crop_size} pixels: {error}") from error
        assert isinstance(module, nn.Module)
        return module

    return build


def _given(module: nn.Module) -> Callable[[int | None], nn.Module]:
    return lambda classes: module


def _user_model(name: str) -> UserModel:
    path, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(path), attribute)
    except ImportError as error:
        raise ConfigurationError(
            f"model {name!r}: cannot import {path!r} ({error}); is its directory on PYTHONPATH?"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(f"model {name!r}: {path!r} has no {attribute!r}") from error
    except Exception as error:  # the user's code runs here, and may raise anything
        raise ConfigurationError(f"model {name!r}: importing {path!r} failed: {error!r}") from error
    if not callable(factory):
        raise ConfigurationError(f"model {name!r}: {attribute!r} is not callable; name a function or a class")
    try:
        made = factory()
    except Exception as error:  # as above
        raise ConfigurationError(f"model {name!r}: {attribute}() failed: {error!r}") from error
    if isinstance(made, nn.Module):
        return UserModel(made)
    if isinstance(made, UserModel) and isinstance(made.module, nn.Module):
        return made
    raise ConfigurationError(
        f"model {name!r}: {attribute}() must return a torch.nn.Module or a models.zoo.UserModel, "
        f"it returned {type(made).__name__}"
    )
