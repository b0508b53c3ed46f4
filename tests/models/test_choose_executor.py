"""Which executor is used: as told, or the faster one of those that compute the same."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import ConfigurationError, ModelError
from models import choose_executor as module
from models import onnx_export
from models.choose_executor import choose_executor
from models.executor import TorchExecutor
from models.model import Model
from models.onnx_executor import OnnxExecutor, OnnxSegment
from models.onnx_network import OnnxNetwork, OnnxPiece
from models.segment import Segment
from models.zoo import load_model

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


class Clock:
    """Time as the executors take it: torch 10 ms a run, onnxruntime as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, onnx_ms: float) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        self._slow(monkeypatch, "models.executor.TorchSegment", 10.0)
        self._slow(monkeypatch, "models.onnx_executor.OnnxSegment", onnx_ms)

    def _slow(self, monkeypatch: pytest.MonkeyPatch, where: str, ms: float) -> None:
        package, _, name = where.rpartition(".")
        kind: Any = getattr(sys.modules[package], name)
        execute = kind.execute

        def timed(segment: Any, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            self.now += ms / 1e3
            found: dict[str, torch.Tensor] = execute(segment, inputs)
            return found

        monkeypatch.setattr(kind, "execute", timed)


@pytest.mark.parametrize(("onnx_ms", "name"), [(5.0, "onnxruntime"), (20.0, "torch")])
def test_auto_takes_the_faster_one_and_remembers(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnx_ms: float, name: str
) -> None:
    """What was measured once on a device is not measured again, and another device measures for itself."""
    with monkeypatch.context() as patched:
        Clock(patched, onnx_ms)
        assert choose_executor("auto", model, TorchExecutor(), tmp_path).name == name
    (path,) = tmp_path.glob("executor-*.json")
    document = json.loads(path.read_text())
    assert document["ms"] == {"torch": 10.0, "onnxruntime": onnx_ms}
    measured: list[object] = []
    monkeypatch.setattr(module, "_faster", lambda *of: measured.append(of))
    assert choose_executor("auto", model, TorchExecutor(), tmp_path).name == name
    assert measured == []
    changes: list[dict[str, Any]] = [
        {"device": "another"},
        {"versions": {}},
        {"measured_as": 1},
        {"measured_as": None},
    ]
    for number, change in enumerate(changes, start=1):
        path.write_text(json.dumps({k: v for k, v in {**document, **change}.items() if v is not None}))
        choose_executor("auto", model, TorchExecutor(), tmp_path)
        assert len(measured) == number


def test_auto_keeps_to_torch_where_the_other_computes_something_else(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Speed does not excuse another answer, and not a number is another answer."""
    for wrong in (1.001, float("nan")):
        with monkeypatch.context() as patched:
            Clock(patched, 1.0)
            execute = OnnxSegment.execute

            def off(segment: OnnxSegment, inputs: Any, wrong: float = wrong, execute: Any = execute) -> Any:
                return {name: tensor * wrong for name, tensor in execute(segment, inputs).items()}

            patched.setattr(OnnxSegment, "execute", off)
            directory = tmp_path / str(wrong)
            assert choose_executor("auto", model, TorchExecutor(), directory).name == "torch"


def test_auto_keeps_to_torch_where_a_cut_would_take_long_to_prepare(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames would stand still at each switch, however fast they were after it."""
    clock = Clock(monkeypatch, 1.0)
    compile_ = OnnxExecutor.compile

    def slow(executor: OnnxExecutor, segment: Segment, **options: bool) -> OnnxSegment:
        clock.now += 2.0
        return compile_(executor, segment, **options)

    monkeypatch.setattr(OnnxExecutor, "compile", slow)
    assert choose_executor("auto", model, TorchExecutor(), tmp_path).name == "torch"


def test_a_network_that_onnxruntime_refuses_runs_on_torch(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document it cannot read, or an operator it has not, shows when the network is first compiled."""
    monkeypatch.setattr(OnnxNetwork, "extract", lambda *_: OnnxPiece(b"no document", {}))
    torch_executor = TorchExecutor()
    assert choose_executor("auto", model, torch_executor, tmp_path) is torch_executor


def test_what_is_told_is_used(model: Model, tmp_path: Path) -> None:
    """`torch` is the executor as given, and looks for nothing else; `onnxruntime` is not measured against it."""
    torch_executor = TorchExecutor()
    assert choose_executor("torch", model, torch_executor, tmp_path) is torch_executor
    assert list(tmp_path.iterdir()) == []
    assert isinstance(choose_executor("onnxruntime", model, torch_executor, tmp_path), OnnxExecutor)
    assert list(tmp_path.glob("executor-*")) == []


def test_without_onnxruntime_auto_is_torch_and_asking_for_it_is_an_error(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An optional package that is missing stops nobody who did not ask for it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "models.onnxruntime_silent", raising=False)
    torch_executor = TorchExecutor()
    assert choose_executor("auto", model, torch_executor, tmp_path) is torch_executor
    with pytest.raises(ConfigurationError, match="not installed"):
        choose_executor("onnxruntime", model, torch_executor, tmp_path)


def test_a_model_that_cannot_be_exported_runs_on_torch(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` goes on with torch; asked for by name, it is an error."""

    def fail(of: Model) -> bytes:
        raise ModelError(f"{of.name} cannot be exported to ONNX: a reason")

    monkeypatch.setattr(onnx_export, "export", fail)
    torch_executor = TorchExecutor()
    assert choose_executor("auto", model, torch_executor, tmp_path) is torch_executor
    (path,) = tmp_path.glob("executor-*.json")
    assert "a reason" in json.loads(path.read_text())["reason"], "the next start need not try again"
    with pytest.raises(ModelError, match="a reason"):
        choose_executor("onnxruntime", model, torch_executor, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(28, "No space left on device"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"),
    ],
    ids=["memory", "disk", "torch"],
)
@pytest.mark.parametrize("exporting", [True, False])
def test_what_passes_is_tried_again_at_the_next_start(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, exporting: bool
) -> None:
    """A full disk or memory on one day is no reason to be slower ever after."""

    def fail(*_: object) -> None:
        if exporting:
            raise ModelError("cannot be exported") from error
        raise error

    torch_executor = TorchExecutor()
    monkeypatch.setattr(module, "_onnx_executor", fail)
    assert choose_executor("auto", model, torch_executor, tmp_path) is torch_executor
    assert list(tmp_path.glob("executor-*")) == []


def test_onnxruntime_may_come_in_a_package_of_another_name(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu and onnxruntime-openvino bring the same module: what was chosen is kept and found again."""

    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    def refuse(*_: object) -> None:
        raise ModelError("a reason")

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    monkeypatch.setattr(module, "_onnx_executor", refuse)
    torch_executor = TorchExecutor()
    assert choose_executor("auto", model, torch_executor, tmp_path) is torch_executor
    (path,) = tmp_path.glob("executor-*.json")
    versions = json.loads(path.read_text())["versions"]
    assert versions["onnxruntime"] == sys.modules["onnxruntime"].__version__
    assert versions["torch"] == torch.__version__
    assert module._read(path, torch_executor) == "torch"
    assert len(onnx_export._exporter_digest()) == 8


def test_on_another_device_than_the_cpu_torch_is_used(model: Model, tmp_path: Path) -> None:
    """onnxruntime is for CPUs here; asked for on CUDA it is an error that says so."""
    torch_executor = TorchExecutor()
    torch_executor.device = "cuda"
    assert choose_executor("auto", model, torch_executor, tmp_path) is torch_executor
    with pytest.raises(ConfigurationError, match="runs on the CPU here, and the device is cuda"):
        choose_executor("onnxruntime", model, torch_executor, tmp_path)
