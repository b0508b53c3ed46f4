"""What is done to a link, for how long, and how it is undone: the cuts that `link_cuts` draws."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.emulated_link import EmulatedLink

SHORT_S = 2.0
"""An outage below this must be over for the frames within SHORT_BAR_S of its end, a longer one within LONG_BAR_S."""
SHORT_BAR_S = 3.0
LONG_BAR_S = 12.0
LONGEST_S = 8.0

HARMS: Mapping[str, str] = {
    "reset": "broken, and both sides are told",
    "reset of the edge": "broken, the cloud's side is not told and stays half-open",
    "reset of the cloud": "broken, the edge's side is not told and stays half-open",
    "half-open": "gone, and neither side is told",
    "silence": "nothing passes; what was sent waits, and arrives afterwards",
    "silence up": "nothing passes to the cloud; it waits, and arrives afterwards",
    "silence down": "nothing passes to the edge; it waits, and arrives afterwards",
    "break": "bytes trickle, then the connection breaks amid a message, and so do new ones",
}
"""What becomes of the connections that are there."""

NEWCOMERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("reset", "reset of the edge", "reset of the cloud", "half-open"), ("hang", "refused")),
    **dict.fromkeys(("silence", "silence up", "silence down"), ("hang",)),
    "break": ("welcome",),
}
"""What new connections meet while the outage lasts."""
AT_ONCE = ("reset", "reset of the edge", "reset of the cloud", "half-open")
"""Harms that may be over as soon as they are done: new connections are welcome at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One cut: after `calm_s` of frames, the harm, and what newcomers meet for `outage_s`."""

    harm: str
    newcomers: str
    outage_s: float
    calm_s: float
    limit_bytes: int

    @classmethod
    def draw(cls, rng: random.Random, harm: str | None = None, longest_s: float = LONGEST_S) -> Cut:
        """Draw a cut, of one kind of harm if that is given; half of the outages are short."""
        harm = harm or rng.choice([*HARMS])
        newcomers = rng.choice(NEWCOMERS[harm])
        outage_s = rng.uniform(0.05, SHORT_S) if rng.random() < 0.5 else rng.uniform(SHORT_S, longest_s)
        if outage_s < SHORT_S and harm in AT_ONCE and rng.random() < 0.5:
            newcomers, outage_s = "welcome", 0.0
        return cls(
            harm=harm,
            newcomers=newcomers,
            outage_s=outage_s,
            calm_s=rng.uniform(1.0, 3.0),
            limit_bytes=rng.randrange(1, 3000),
        )

    @property
    def is_short(self) -> bool:
        return self.outage_s < SHORT_S

    @property
    def bar_s(self) -> float:
        return SHORT_BAR_S if self.is_short else LONG_BAR_S

    def begin(self, link: EmulatedLink) -> None:
        """Do the harm."""
        if self.newcomers == "refused":
            link.refuse()
        elif self.newcomers == "hang":
            link.ignore()
        match self.harm:
            case "reset":
                link.reset()
            case "reset of the edge":
                link.forsake(client_told=True)
            case "reset of the cloud":
                link.forsake(target_told=True)
            case "half-open":
                link.forsake()
            case "silence":
                link.cut()
            case "silence up":
                link.cut(down=False)
            case "silence down":
                link.cut(up=False)
            case "break":
                link.shape = dataclasses.replace(
                    link.shape, slice_bytes=200, slice_gap_ms=2.0, limit_bytes=self.limit_bytes
                )

    def end(self, link: EmulatedLink) -> None:
        """Have the link as it was; what was lost stays lost."""
        if self.harm == "break":
            link.shape = dataclasses.replace(link.shape, slice_bytes=None, limit_bytes=None)
        elif self.harm.startswith("silence"):
            link.restore()
        link.welcome()
