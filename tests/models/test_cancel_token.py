"""A token: what is called when it is cancelled, and what ends by it."""

from __future__ import annotations

import threading

import pytest
import torch

from common.errors import RunCancelledError
from models.cancel_token import CancelToken, cancellable


def test_each_callback_is_called_once_whenever_it_came() -> None:
    """Before the cancelling, and after; cancelling again calls nothing."""
    token, called = CancelToken(), list[str]()
    token.when_cancelled(lambda: called.append("before"))
    token.raise_if_cancelled()
    assert called == []
    token.cancel()
    token.when_cancelled(lambda: called.append("after"))
    token.cancel()
    assert called == ["before", "after"]
    with pytest.raises(RunCancelledError):
        token.raise_if_cancelled()


def test_only_this_thread_and_this_context_end_by_it() -> None:
    """Another thread's operations go on, and so do those after the context."""
    token, elsewhere = CancelToken(), list[torch.Tensor]()
    with cancellable(token):
        one = torch.relu(torch.ones(1))
        token.cancel()
        other = threading.Thread(target=lambda: elsewhere.append(torch.relu(torch.ones(1))))
        other.start()
        other.join(10)
        with pytest.raises(RunCancelledError):
            torch.relu(one)
    assert torch.equal(torch.relu(one), elsewhere[0])
