"""Models are loaded by name, with weights from where the operator says; mistakes are named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from common.errors import ConfigurationError, ModelError
from models.executor import TorchExecutor
from models.preprocess import Preprocessing, as_frame
from models.zoo import UserModel, classifier_names, load_model
from tests.models.classifiers import small_frame

MODEL = "squeezenet1_1"


def weights_file(
    path: Path, change: Callable[[dict[str, torch.Tensor]], None], name: str = MODEL, **kwargs: object
) -> str:
    from models.torchvision_shim import torchvision

    state = dict(torchvision.models.get_model(name, weights=None, **kwargs).state_dict())
    change(state)
    save_file(state, path / "weights.safetensors")
    return str(path / "weights.safetensors")


def test_all_of_torchvisions_classifiers_are_known() -> None:
    """Classifiers, and nothing else that torchvision has."""
    names = classifier_names()
    assert {"alexnet", "inception_v3", "vit_b_16", "maxvit_t"} <= set(names)
    assert not {"fasterrcnn_resnet50_fpn", "raft_small", "fcn_resnet50"} & set(names)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    """An unknown model is the operator's mistake, and the message helps."""
    with pytest.raises(ConfigurationError, match="did you mean resnet50"):
        load_model("resnet5O", "random:0")
    with pytest.raises(ConfigurationError, match=r"package\.module:factory"):
        load_model("zzz", "random:0")


def test_random_weights_make_the_same_model_twice() -> None:
    """Same seed, same fingerprint; another seed differs in the weights alone, another size in the architecture."""
    one, same = (load_model(MODEL, "random:3", crop_size=64) for _ in range(2))
    assert one.fingerprint == same.fingerprint
    other = load_model(MODEL, "random:4", crop_size=64)
    assert one.fingerprint.differences(other.fingerprint) == ("weights",)
    larger = load_model(MODEL, "random:3", crop_size=96)
    assert "architecture" in one.fingerprint.differences(larger.fingerprint)
    assert "weights" not in one.fingerprint.differences(larger.fingerprint)


@pytest.mark.parametrize("weights", ["random:", "random:x", "random:-1", "random:1.5"])
def test_a_seed_that_is_none_is_refused(weights: str) -> None:
    """A seed is a whole number ≥ 0."""
    with pytest.raises(ConfigurationError, match=r"as in random:0"):
        load_model(MODEL, weights)


def test_random_answers_depend_on_the_image() -> None:
    """Random weights are no excuse for constant answers: logits are finite, and other images get other classes."""
    model = load_model("mobilenet_v2", "random:0", crop_size=96)
    run = TorchExecutor().compile(model.segment(model.graph.names, ["answer", "classifier.1"])).run
    found = [run({"frame": as_frame(small_frame(seed=seed))}) for seed in range(4)]
    assert all(torch.isfinite(outputs["classifier.1"]).all() for outputs in found)
    assert len({tuple(outputs["answer"][0, :, 0].tolist()) for outputs in found}) == 4


def test_safetensors_are_loaded_by_name(tmp_path: Path) -> None:
    """A saved model is the model it was saved from: same weights, same architecture, same answer."""
    torch.manual_seed(1)
    path = weights_file(tmp_path, lambda state: None)
    one, two = load_model(MODEL, path, crop_size=64), load_model(MODEL, path, crop_size=64)
    assert one.fingerprint == two.fingerprint
    assert one.labels[0] == "tench"
    random = load_model(MODEL, "random:0", crop_size=64)
    assert one.fingerprint.differences(random.fingerprint) == ("weights",)


def test_another_number_of_classes_rebuilds_the_classifier(tmp_path: Path) -> None:
    """Weights fine-tuned to 7 classes load as they are; their labels are not ImageNet's."""
    path = weights_file(tmp_path, lambda state: None, num_classes=7)
    model = load_model(MODEL, path, crop_size=64)
    assert model.labels == tuple(f"class {i}" for i in range(7))
    assert model.graph[model.graph.sink].output_bytes == 5 * 2 * 8


def test_auxiliary_classifiers_are_ignored(tmp_path: Path) -> None:
    """GoogLeNet's training heads, which published files hold, are no part of the model."""

    def add_heads(state: dict[str, torch.Tensor]) -> None:
        state["aux1.fc1.weight"] = torch.zeros(2, 2)
        state["aux2.fc2.bias"] = torch.zeros(2)

    path = weights_file(
        tmp_path, add_heads, "googlenet", aux_logits=False, init_weights=False, num_classes=11
    )
    assert len(load_model("googlenet", path, crop_size=64).labels) == 11


def test_densenets_published_names_are_understood(tmp_path: Path) -> None:
    """DenseNet's files name submodules `norm.1`, the model names them `norm1`."""

    def rename(state: dict[str, torch.Tensor]) -> None:
        for name in list(state):
            for part in ("norm1", "norm2", "conv1", "conv2"):
                if f"denselayer1.{part}." in name:
                    state[name.replace(part, f"{part[:-1]}.{part[-1]}")] = state.pop(name)

    path = weights_file(tmp_path, rename, "densenet121")
    assert load_model("densenet121", path, crop_size=64).fingerprint


def drop(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state[name]

    return change


def put(name: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        state[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (drop("features.0.weight"), r"1 missing \(features.0.weight\)"),
        (put("layer9.weight", torch.zeros(1)), r"1 unknown \(layer9.weight\)"),
        (
            put("features.0.weight", torch.zeros(64, 1, 3, 3)),
            r"features.0.weight is \[64, 1, 3, 3\], the model's is",
        ),
    ],
)
def test_weights_of_another_model_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], culprit: str
) -> None:
    """Missing, unknown and misshapen tensors are named."""
    with pytest.raises(ConfigurationError, match=culprit):
        load_model(MODEL, weights_file(tmp_path, change), crop_size=64)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    """A missing file, a damaged one and one of another format are the operator's to mend."""
    with pytest.raises(ConfigurationError, match="no such file"):
        load_model(MODEL, str(tmp_path / "none.safetensors"))
    with pytest.raises(ConfigurationError, match=r"CLEAVE_WEIGHTS=~nobody-here.*no home directory"):
        load_model(MODEL, "~nobody-here/w.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ConfigurationError, match=r"bad.safetensors"):
        load_model(MODEL, str(tmp_path / "bad.safetensors"))
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"ends in .safetensors"):
        load_model(MODEL, str(tmp_path / "model.pth"))


def test_published_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`default` takes torchvision's cached file, without the network."""
    from models.torchvision_shim import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    url = torchvision.models.get_model_weights(MODEL).DEFAULT.url
    torch.save(torchvision.models.get_model(MODEL, weights=None).state_dict(), cache / url.rpartition("/")[2])
    model = load_model(MODEL, "default")
    assert model.labels[:2] == ("tench", "goldfish")
    assert model.preprocessing == Preprocessing()


def test_published_weights_that_cannot_be_had_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without cache and network the message names the file that is missing, and the alternatives."""

    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    expected = rf"no route to host.*{tmp_path}/hub/checkpoints/squeezenet1_1-\w+.pth.*random:0.*safetensors"
    with pytest.raises(ConfigurationError, match=expected):
        load_model(MODEL, "default")


USER_MODULE = """
from torch import nn
from models.preprocess import Preprocessing
from models.zoo import UserModel

def plain():
    features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(features, nn.Flatten(), nn.Linear(16, 3))

def labelled():
    return UserModel(plain(), Preprocessing(crop_size=32, resize_size=32), ("cat", "dog", "owl"))

def mislabelled():
    return UserModel(plain(), labels=("cat",))

def wrong():
    return "a string"

def failing():
    raise ValueError("no such thing")

number = 3
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_networks.py").write_text(USER_MODULE)
    (tmp_path / "my_broken.py").write_text("import a_package_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return "my_networks"


def test_a_users_own_network_is_loaded(user_module: str) -> None:
    """`package.module:factory` gives a model with ImageNet's pre-processing, or the one it names."""
    plain = load_model(f"{user_module}:plain", "random:0")
    assert (plain.preprocessing, plain.labels) == (Preprocessing(), ("class 0", "class 1", "class 2"))
    labelled = load_model(f"{user_module}:labelled", "default")
    assert labelled.labels == ("cat", "dog", "owl")
    assert labelled.preprocessing.crop_size == 32
    run = TorchExecutor().compile(labelled.segment(labelled.graph.names, ["answer"])).run
    assert run({"frame": as_frame(small_frame())})["answer"].shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere_at_all:plain", "cannot import 'nowhere_at_all'.*PYTHONPATH"),
        ("my_broken:plain", "a_package_that_is_not_there"),
        ("my_networks:absent", "has no 'absent'"),
        ("my_networks:number", "not callable"),
        ("my_networks:wrong", "must return a torch.nn.Module .* it returned str"),
        ("my_networks:failing", "no such thing"),
        ("my_networks:mislabelled", "has 3 classes, and 1 labels"),
    ],
)
def test_a_users_mistake_is_named(user_module: str, name: str, reason: str) -> None:
    """Whatever is wrong with the user's module is a configuration error that says what to do."""
    with pytest.raises(ConfigurationError, match=reason):
        load_model(name, "default")


def test_a_size_the_model_cannot_take_is_refused() -> None:
    """A crop size at which the network does not run is an error with torch's own words."""
    with pytest.raises(ModelError, match=r"does not run on an input of shape \[2, 3, 16, 16\]"):
        load_model("alexnet", "random:0", crop_size=16)


def test_a_user_model_is_a_value() -> None:
    """UserModel is frozen, with defaults for all but the module."""
    module = nn.Identity()
    assert UserModel(module) == UserModel(module, Preprocessing(), None)
