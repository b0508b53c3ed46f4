"""What each crossing tensor may be sent as, and what that costs: the codec is part of the cut.

Encoding is the edge's time, decoding the cloud's. Source: planning.md §4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.graph import ModelGraph
from common.plan import Cut
from common.profile import Profile
from common.wire.codecs import RAW, Loss, loss_of

Array = NDArray[np.float64]

LOSSLESS = frozenset({Loss.NONE})


@dataclass(frozen=True, slots=True)
class Option:
    """One way to send a unit's tensor: time to encode it on the edge (ms), bytes, time to decode it in the cloud."""

    codec: str
    encode_ms: float
    payload_bytes: float
    decode_ms: float

    def dominates(self, other: Option) -> bool:
        """Say whether this one is nowhere worse. It is for the first of two equals to be asked."""
        return (
            self.encode_ms <= other.encode_ms
            and self.payload_bytes <= other.payload_bytes
            and self.decode_ms <= other.decode_ms
        )


@dataclass(frozen=True)
class Codings:
    """The options of every unit that have been measured; `raw`, the first, is always there."""

    options: Mapping[str, tuple[Option, ...]]

    @classmethod
    def raw(cls, graph: ModelGraph) -> Codings:
        """Everything is sent as it is."""
        return cls({unit.name: (Option(RAW, 0.0, unit.output_bytes, 0.0),) for unit in graph.units})

    @classmethod
    def of(
        cls,
        graph: ModelGraph,
        edge: Profile,
        cloud: Profile,
        bytes_scale: Callable[[str, str], float] = lambda unit, codec: 1.0,
    ) -> Codings:
        """Join what both devices measured.

        `bytes_scale(unit, codec)` says how many times longer than in the profile a tensor is now.
        """
        found: dict[str, tuple[Option, ...]] = {}
        for unit in graph.units:
            decode_ms = {coding.codec: coding.decode_ms for coding in cloud.codings.get(unit.name, ())}
            measured = (
                Option(
                    coding.codec,
                    coding.encode_ms,
                    coding.payload_bytes * bytes_scale(unit.name, coding.codec),
                    decode_ms[coding.codec],
                )
                for coding in edge.codings.get(unit.name, ())
                if coding.codec in decode_ms
            )
            found[unit.name] = (Option(RAW, 0.0, unit.output_bytes, 0.0), *measured)
        return cls(found)

    def worthwhile(self, unit: str, losses: frozenset[Loss]) -> tuple[Option, ...]:
        """Return a unit's options that lose no more than `losses` names, without those that another one beats."""
        raw, *others = self.options[unit]
        kept = [raw]
        for option in sorted(others, key=lambda o: (o.encode_ms + o.decode_ms, o.payload_bytes)):
            if loss_of(option.codec) in losses and not any(other.dominates(option) for other in kept):
                kept.append(option)
        return tuple(kept)

    def of_cut(self, cut: Cut) -> Option:
        """Return what the codecs of `cut` cost together. One that was not measured is taken for `raw`."""
        chosen = [self._option(unit, codec) for unit, codec in cut.codec_of.items()]
        return Option(
            cut.label,
            sum(option.encode_ms for option in chosen),
            sum(option.payload_bytes for option in chosen),
            sum(option.decode_ms for option in chosen),
        )

    def _option(self, unit: str, codec: str) -> Option:
        options = self.options[unit]
        return next((option for option in options if option.codec == codec), options[0])


@dataclass(frozen=True, slots=True, eq=False)
class Assignments:
    """Codecs for several tensors at once: row by row the chosen codecs, and what they cost together."""

    codecs: tuple[tuple[str, ...], ...]
    encode_ms: Array
    payload_bytes: Array
    decode_ms: Array


MOST_ASSIGNMENTS = 64
"""Kept while the tensors of one cut are combined. Up to here all are looked at; of more, an even choice by size."""


def assign(
    options: Iterable[tuple[Option, ...]], keep: Callable[[Array, Array, Array], NDArray[np.bool_]]
) -> Assignments:
    """Combine the options of several tensors; `keep` marks the non-dominated of a list of costs.

    What is dominated among the first tensors stays so with any further ones, so each step drops it.
    """
    codecs: list[tuple[str, ...]] = [()]
    costs = np.zeros((1, 3))
    for unit_options in options:
        own = np.array([[o.encode_ms, o.payload_bytes, o.decode_ms] for o in unit_options])
        costs = (costs[:, None, :] + own[None, :, :]).reshape(-1, 3)
        codecs = [(*before, option.codec) for before in codecs for option in unit_options]
        if len(costs) > 1:
            kept = np.flatnonzero(keep(costs[:, 0], costs[:, 1], costs[:, 2]))
            if len(kept) > MOST_ASSIGNMENTS:
                by_size = kept[np.argsort(costs[kept, 1], kind="stable")]
                kept = by_size[np.linspace(0, len(by_size) - 1, MOST_ASSIGNMENTS).round().astype(np.intp)]
            costs, codecs = costs[kept], [codecs[i] for i in kept]
    return Assignments(tuple(codecs), costs[:, 0], costs[:, 1], costs[:, 2])
