"""Who looks on as frames get their records. What goes wrong with a looker-on costs no frame."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from edge_daemon.results import FrameRecord

log = structlog.get_logger()

Observe = Callable[[FrameRecord], None]


class Observers:
    """Tells each observer of each record, on the event loop: an observer must be quick."""

    def __init__(self, *observers: Observe) -> None:
        self._observers = [*observers]

    def add(self, observer: Observe) -> None:
        self._observers.append(observer)

    def tell(self, record: FrameRecord) -> None:
        """Tell all. An observer that fails has a bug, and is told nothing more."""
        for observer in [*self._observers]:
            try:
                observer(record)
            except Exception:
                log.exception("an observer of frames failed, and is told no more of them")
                self._observers.remove(observer)
