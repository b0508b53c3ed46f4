"""Which threads look through images."""

from __future__ import annotations

import threading

import pytest
from PIL import Image

from models import preprocess


def threads_that_open_images(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Return a list of the threads that open an image from now on, one for each time."""
    threads: list[threading.Thread] = []
    opened = preprocess.open_image

    def noted(data: bytes) -> Image.Image:
        threads.append(threading.current_thread())
        return opened(data)

    monkeypatch.setattr(preprocess, "open_image", noted)
    return threads
