"""A plan that the operator has fixed: a cut's label, or a file that holds one and may change."""

from __future__ import annotations

from pathlib import Path

import structlog

from common.config import absolute
from common.errors import ConfigurationError, PlanError
from common.graph import ModelGraph
from common.plan import Cut

log = structlog.get_logger()

FROM_FILE = "@"


class FixedPlan:
    """The cut named by `CLEAVE_EDGE_PLAN`. Raises `ConfigurationError` when it names none."""

    def __init__(self, text: str, graph: ModelGraph) -> None:
        self._graph = graph
        self._label = text
        try:
            self._path = absolute(Path(text.removeprefix(FROM_FILE))) if text.startswith(FROM_FILE) else None
            self._label = self._read()
            self._cut = Cut.from_label(graph, self._label)
        except (PlanError, OSError, ValueError) as error:
            raise ConfigurationError(f"CLEAVE_EDGE_PLAN={text}: {error}") from None

    @property
    def may_use_cloud(self) -> bool:
        return self._path is not None or bool(self._cut.cloud_units)

    def cut(self) -> Cut:
        """Return the cut to run now. A file that cannot be read or names no cut leaves the last one in force."""
        try:
            label = self._read()
            if label != self._label:
                self._label = label
                self._cut = Cut.from_label(self._graph, label)
        except (PlanError, OSError, UnicodeError) as error:
            log.warning("the fixed plan cannot be read, the last one stays", reason=str(error))
        return self._cut

    def _read(self) -> str:
        return self._path.read_text(encoding="utf-8").strip() if self._path is not None else self._label
