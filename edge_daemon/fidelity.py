"""Which lossy cuts may be used: those whose answers have been seen to agree with the unsplit model's.

Decisions only; `certifier.py` runs the frames. A certificate is a window of comparisons: those it was given on, and
those made now and then since.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from common.plan import Cut
from common.wire.codecs import Loss, loss_of

Setting = Literal["off", "f16", "int8", "image", "auto"]

CALIBRATION_FRAMES = 32
"""Frames that a cut is certified on: the last ones that came."""
FEWEST_FRAMES = 8
"""Before so many have come, nothing is certified."""
WINDOW = 300
"""Comparisons of a cut that count: with fewer, nothing could be said of 99 in 100."""
CHANCE = 0.05
"""A certificate ends when a cut that agrees just often enough would show so few by chance more rarely than that: one
difference among 64 frames is no proof of less than 99 in 100."""
REFUSED_S = 3600.0
"""After so long what was refused may be tried again: night ends, and lenses are wiped."""
RECHECK_EVERY = 50
"""Of so many frames answered under a lossy cut, one is run unsplit, too."""
MOST_REFUSED = 3
"""After so many cuts were refused for what their codecs lose, no other one with that loss is tried."""


def allowed_losses(setting: Setting) -> frozenset[Loss]:
    """Return what codecs may lose by `CLEAVE_EDGE_LOSSY`, beside nothing."""
    return {
        "off": frozenset[Loss](),
        "f16": frozenset({Loss.F16}),
        "int8": frozenset({Loss.F16, Loss.INT8}),
        "image": frozenset({Loss.IMAGE}),
        "auto": frozenset({Loss.F16, Loss.INT8, Loss.IMAGE}),
    }[setting]


def losses_of(cut: Cut) -> frozenset[Loss]:
    """Return what the codecs of `cut` lose, beside nothing."""
    return frozenset(loss_of(codec) for codec in cut.codecs) - {Loss.NONE}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One frame's answer by a lossy cut against the unsplit model's: the same class first, and the largest change
    of a probability."""

    same: bool
    change: float


def compare(reference: Sequence[Sequence[float]], answer: Sequence[Sequence[float]]) -> Comparison:
    """Compare two answers, rows of class and probability, the likeliest first.

    A class that only one of them names is taken to have the other's least probability: it has no more.
    """
    one, other = ({row[0]: row[1] for row in rows} for rows in (reference, answer))
    change = max(
        abs(one.get(c, min(one.values())) - other.get(c, min(other.values())))
        for c in one.keys() | other.keys()
    )
    return Comparison(same=reference[0][0] == answer[0][0], change=change)


@dataclass(slots=True)
class Certificate:
    """What is known of a lossy cut's answers."""

    comparisons: deque[Comparison] = field(default_factory=lambda: deque(maxlen=WINDOW))
    refused_at: float = -math.inf

    @property
    def frames(self) -> int:
        return len(self.comparisons)

    @property
    def agreement(self) -> float:
        """Share of the frames whose first class is the same."""
        return sum(c.same for c in self.comparisons) / max(len(self.comparisons), 1)

    def shows_less_than(self, min_agreement: float) -> bool:
        """Say whether answers agree more rarely than that, and not by chance alone."""
        different, p = sum(not c.same for c in self.comparisons), 1.0 - min_agreement
        fewer = sum(
            math.comb(self.frames, k) * p**k * min_agreement ** (self.frames - k) for k in range(different)
        )
        return 1.0 - fewer < CHANCE

    @property
    def largest_change(self) -> float:
        return max((c.change for c in self.comparisons), default=0.0)


class Fidelity:
    """Keeps the certificates. A cut is certified, refused, or not known (any more). `clock` is monotonic, in s."""

    def __init__(
        self, losses: frozenset[Loss], min_agreement: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.losses = losses
        self.min_agreement = min_agreement
        self._certificates: dict[Cut, Certificate] = {}
        self._refused: dict[Cut, Certificate] = {}

    @property
    def certified(self) -> tuple[Cut, ...]:
        return tuple(self._certificates)

    @property
    def refused(self) -> tuple[Cut, ...]:
        """Those that were refused not long ago."""
        since = self._clock() - REFUSED_S
        return tuple(cut for cut, certificate in self._refused.items() if certificate.refused_at > since)

    def may_use(self, cut: Cut) -> bool:
        """Say whether frames may run under `cut`: it loses nothing, or it is certified."""
        return not losses_of(cut) or cut in self._certificates

    def worth_trying(self, cut: Cut) -> bool:
        """Say whether `cut` should be certified: it is lossy, not known yet, and its like have not failed before."""
        known = cut in self._certificates or cut in self.refused
        return bool(losses_of(cut)) and not known and not losses_of(cut) & self.given_up

    @property
    def given_up(self) -> frozenset[Loss]:
        """What codecs may lose no longer: enough cuts were refused for it."""
        failed = Counter(loss for cut in self.refused for loss in losses_of(cut))
        return frozenset(loss for loss, cuts in failed.items() if cuts >= MOST_REFUSED)

    def verdict(self, cut: Cut, comparisons: list[Comparison], planned: int) -> bool | None:
        """Certify or refuse `cut` by its first comparisons, of `planned` in all; none: it is not decided yet.

        It is refused as soon as the frames that are left cannot mend it.
        """
        different = sum(not c.same for c in comparisons)
        if 1.0 - different / planned < self.min_agreement:
            self._refused[cut] = Certificate(deque(comparisons, maxlen=WINDOW), self._clock())
            return False
        if len(comparisons) < planned:
            return None
        self._certificates[cut] = Certificate(deque(comparisons, maxlen=WINDOW))
        self._refused.pop(cut, None)
        return True

    def recheck(self, cut: Cut, comparison: Comparison) -> bool:
        """Add a comparison to a certificate; say whether it still holds. One that does not is a refusal."""
        certificate = self._certificates.get(cut)
        if certificate is None:
            return False
        certificate.comparisons.append(comparison)
        if certificate.shows_less_than(self.min_agreement):
            self._refused[cut] = self._certificates.pop(cut)
            certificate.refused_at = self._clock()
            return False
        return True

    def __iter__(self) -> Iterator[tuple[Cut, Certificate, bool]]:
        """Yield every cut that is known, with its certificate, and whether it may be used."""
        yield from ((cut, certificate, True) for cut, certificate in self._certificates.items())
        yield from ((cut, self._refused[cut], False) for cut in self.refused)

    def of(self, cut: Cut) -> Certificate | None:
        return self._certificates.get(cut) or self._refused.get(cut)
