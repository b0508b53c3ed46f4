"""What a daemon shows: an interface between the daemons, which know it, and the HTTP server, which serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether all is well, and what is not, in a line."""

    well: bool
    says: str


class View(Protocol):
    """One daemon. All methods are the event loop's, and quick."""

    def status(self) -> Document:
        """Return the whole state, as JSON can hold it."""
        ...

    def alive(self) -> Health:
        """Say whether everything makes progress; if not, only a restart helps."""
        ...

    def ready(self) -> Health:
        """Say whether the daemon does what it is for."""
        ...

    def first(self) -> Document:
        """Return what a page needs beside the status when it begins to look: what changes seldom, and the past."""
        ...

    def news(self) -> Document:
        """Return what a page needs beside the status that has come since the last call."""
        ...

    async def refresh(self) -> None:
        """Look at what takes a moment to look at (the machine), if that is due. Called before the others are."""
        ...

    async def picture(self, frame: int | None) -> bytes | None:
        """Return the newest answered frame as a small JPEG, or the one that was told last; none where it is gone."""
        ...

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics that are counted as things happen."""
        ...

    def metrics(self, status: Document) -> CollectorRegistry:
        """Return the metrics that are read off a status."""
        ...


ALIVE = Health(True, "alive")


class Starting:
    """The view of a daemon that still loads its model."""

    def __init__(self, daemon: str) -> None:
        self._daemon = daemon
        self.registry = CollectorRegistry()
        ProcessCollector(namespace=f"cleave_{daemon}", registry=self.registry)

    def status(self) -> Document:
        return {"state": "starting"}

    def alive(self) -> Health:
        return ALIVE

    def ready(self) -> Health:
        return Health(False, "the model is being loaded")

    def first(self) -> Document:
        return {}

    def news(self) -> Document:
        return {}

    async def refresh(self) -> None:
        pass

    async def picture(self, frame: int | None) -> bytes | None:
        return None

    def metrics(self, status: Document) -> CollectorRegistry:
        return CollectorRegistry()
