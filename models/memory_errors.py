"""Errors that say there is no memory: of the machine at this moment, and no fault of a model, a frame or a peer."""

from __future__ import annotations

NO_MEMORY = ("can't allocate memory", "failed to allocate memory", "bad_alloc", "bad allocation")
"""How torch and onnxruntime say it in a `RuntimeError`."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether `error` says that there is no memory. Its causes are not looked at."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in NO_MEMORY)
