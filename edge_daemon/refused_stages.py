"""Stages that could not be made ready, here or in the cloud: left out of what is planned with, for a while.

A cloud whose memory is full of other edges' stages refuses new ones, and so may an executor. Asked for again at each
look they would be refused again, and the plan that they were to follow would stay, whatever has become of the link.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.partition.frontier import Frontier
from common.plan import Cut
from common.wire.messages import Welcome

AGAIN_S = 60.0
"""After so long they are asked for again; a new connection may be to another cloud, and is asked at once."""
MOST = 4
"""Refused so often lately, whoever refuses is asked for nothing but what is ready."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    edge_units: tuple[str, ...]
    session: Welcome | None
    at: float


class RefusedStages:
    """What was refused lately. Times are any one monotonic clock's, in seconds; codecs make no other stages."""

    def __init__(self) -> None:
        self._refusals: list[_Refusal] = []

    def note(self, cut: Cut, session: Welcome | None, now: float) -> None:
        """Take note that the stages of `cut` cannot be made ready with the cloud of `session`."""
        self._refusals = [*self._lately(session, now), _Refusal(cut.edge_units, session, now)]

    def holds(self, cut: Cut, session: Welcome | None, now: float) -> bool:
        """Whether the stages of `cut` were refused lately, or so many others that these need not be asked for."""
        refusals = self._lately(session, now)
        return len(refusals) >= MOST or any(one.edge_units == cut.edge_units for one in refusals)

    def without(self, frontier: Frontier, present: Cut, session: Welcome | None, now: float) -> Frontier:
        """Return the frontier without what was refused; `present`'s stages are ready, and so is the edge alone."""
        refusals = self._lately(session, now)
        if not refusals:
            return frontier
        sets = frontier.sets
        refused = np.zeros(len(sets), dtype=np.bool_)
        for one in refusals:
            refused |= sets.rows_of(one.edge_units)
        if len(refusals) >= MOST:
            refused[:] = True
        refused &= ~sets.rows_of(present.edge_units)
        refused[sets.edge_only] = False
        return frontier.only([int(entry) for entry in np.flatnonzero(~refused[frontier.rows])])

    def _lately(self, session: Welcome | None, now: float) -> list[_Refusal]:
        return [one for one in self._refusals if one.session is session and now - one.at < AGAIN_S]
