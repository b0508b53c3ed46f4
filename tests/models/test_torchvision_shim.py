from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "defined_before", ["", "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"]
)
def test_torchvision_imports_beside_any_torch(defined_before: str) -> None:
    """In a fresh interpreter, without a warning, and also where a part of the operators is there already."""
    program = f"""
import torch
schema = {defined_before!r}
library = torch.library.Library("torchvision", "FRAGMENT")
if schema:
    library.define(schema)
from models.torchvision_shim import torchvision
assert torch._C._dispatch_has_kernel("torchvision::qnms") or torchvision.extension._has_ops()
torchvision.models.squeezenet1_1(weights=None)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
