"""Facts about importing onnxruntime."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def test_nothing_is_reported_and_no_identity_is_kept(tmp_path: Path) -> None:
    """With an empty home directory it stays empty, also when a network has been run."""
    script = (
        "from models.onnxruntime_silent import onnxruntime; import onnx; from onnx import helper, TensorProto as T;"
        "value = lambda name: helper.make_tensor_value_info(name, T.FLOAT, [1]);"
        "graph = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'g', [value('x')], [value('y')]);"
        "model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8);"
        "onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=100)
    assert list(tmp_path.iterdir()) == []


def test_it_is_imported_from_one_place_only() -> None:
    """Read from the sources of both daemons and what they share."""
    importing = {
        str(path.relative_to(ROOT))
        for package in ("common", "models", "edge_daemon", "cloud_daemon")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name == "onnxruntime" for alias in node.names)
    }
    assert importing == {"models/onnxruntime_silent.py"}
