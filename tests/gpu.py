"""What marks tests that only a GPU can run: `pytest -m gpu` runs them, elsewhere they are skipped with the reason."""

from __future__ import annotations

import pytest
import torch

NEEDS_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason=f"needs a CUDA device; torch {torch.__version__} finds none"
    ),
)
