"""A run that turns out not to be wanted ends then, and not when it is done: others wait for the thread.

Threads cannot be stopped from outside, so who computes looks at the token between two operations of a network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch.overrides import TorchFunctionMode

from common.errors import RunCancelledError


class CancelToken:
    """Is asked whether a run is wanted no more; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], object]] = []

    def cancel(self) -> None:
        """Say that the run is wanted no more. Again, or after its end, that changes nothing."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_cancelled(self, callback: Callable[[], object]) -> None:
        """Have `callback` called on the thread that cancels; at once, if that has been."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        callback()

    def raise_if_cancelled(self) -> None:
        """Raise `RunCancelledError` if the run is wanted no more."""
        if self._cancelled:
            raise RunCancelledError("the result is wanted no more")


class _LookBeforeEach(TorchFunctionMode):
    """Looks at a token before each of torch's operations on this thread."""

    def __init__(self, token: CancelToken) -> None:
        super().__init__()
        self._token = token

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self._token.raise_if_cancelled()
        return func(*args, **(kwargs or {}))


def cancellable(token: CancelToken | None) -> AbstractContextManager[object]:
    """Have what torch does in this context on this thread end between two operations once `token` is cancelled.

    It ends with `RunCancelledError`. Without a token nothing is looked at. With one torch leaves out its fast path
    for `nn.MultiheadAttention`, in which no operation can be seen: the last digits may differ.
    """
    return nullcontext() if token is None else _LookBeforeEach(token)
