"""How fast both devices are now, in times of their profiles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scales:
    """What the edge's and the cloud's profiled times are multiplied by, as the devices are now."""

    edge: float = 1.0
    cloud: float = 1.0

    def __str__(self) -> str:
        """Say which device is another than profiled, where that is worth a word; else nothing."""
        words = [
            f"{name} {scale:.1f} × as slow as profiled"
            if scale > 1
            else f"{name} {1 / scale:.1f} × as fast as profiled"
            for name, scale in (("the edge is", self.edge), ("the cloud is", self.cloud))
            if not 0.85 < scale < 1.15
        ]
        return ", ".join(words)
