"""The exported network: kept, found again, replaced when damaged, and refused where it cannot be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from common.errors import ConfigurationError, ModelError
from common.files import DAY_S
from models import onnx_export
from models.model import Model
from models.onnx_export import load_or_export
from models.zoo import load_model

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


def test_an_export_is_kept_for_the_next_start(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time nothing is exported; a damaged file is exported anew. Nothing is printed."""
    load_or_export(model, tmp_path)
    assert capsys.readouterr() == ("", "")
    (path,) = tmp_path.iterdir()
    document = path.read_bytes()
    exports: list[Model] = []

    def export(of: Model) -> bytes:
        exports.append(of)
        return document

    monkeypatch.setattr(onnx_export, "export", export)
    load_or_export(model, tmp_path)
    assert exports == []
    path.write_bytes(document[: len(document) // 2])
    load_or_export(model, tmp_path)
    assert exports == [model]
    assert path.read_bytes() == document
    path.write_bytes(b"")
    load_or_export(model, tmp_path)
    assert exports == [model, model], "an empty file is a document to protobuf, and not this network's"
    load_or_export(load_model("squeezenet1_1", "random:1", crop_size=64), tmp_path)
    assert len(exports) == 3, "other weights are another network"


def test_networks_that_nobody_needs_are_removed(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other weights' and versions', once they are a day old; not those of models that are served, nor the newest."""
    document = onnx_export.export(model)
    monkeypatch.setattr(onnx_export, "export", lambda of: document)
    served = load_model("squeezenet1_1", "random:1", crop_size=64)

    def aged(name: str, days: float) -> Path:
        path = tmp_path / name
        path.touch()
        os.utime(path, (0, path.stat().st_mtime - days * DAY_S))
        return path

    needed = aged(onnx_export._path(tmp_path, served).name, 9)
    former = [aged(f"network-{days}.onnx", days) for days in (2, 3)]
    for outdated in ("network-4.onnx", f"network-{served.fingerprint.digest}-0.onnx", ".network-5.onnx.ab12"):
        aged(outdated, 5)
    others = [aged(".network-6.onnx.ab12", 0.5), aged("profile-7.json", 9)]
    load_or_export(model, tmp_path, [model, served])
    saved = onnx_export._path(tmp_path, model)
    assert {*tmp_path.iterdir()} == {saved, needed, *former, *others}


def test_a_network_that_cannot_be_exported_is_the_models_error(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the exporter raises, the message names the model and the reason in one line."""
    import torch

    def fail(*_: object, **__: object) -> None:
        raise TypeError("no such operator\nand a long story")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ModelError, match=r"squeezenet1_1 cannot be exported to ONNX: no such operator$"):
        onnx_export.export(model)


def test_what_is_not_installed_is_named_with_what_to_do(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package there is one line that says how to get it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "models.onnxruntime_silent", raising=False)
    with pytest.raises(ConfigurationError, match=r"onnxruntime is not installed \(`make setup`"):
        load_or_export(model, tmp_path)
