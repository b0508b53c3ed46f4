"""What a decision is made with, but for the link: both devices' profiles and drift, and the frames' size."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from common import limits
from common.graph import ModelGraph
from common.partition.codings import LOSSLESS
from common.partition.decide import Costs
from common.partition.frontier import Frontier
from common.partition.segment_times import SegmentTimes
from common.plan import Cut
from common.profile import Profile
from common.wire.codecs import Loss, loss_of
from edge_daemon.coded_lengths import CodedLengths
from edge_daemon.drift import STALE_S, Drift
from edge_daemon.frontiers import Basis, Frontiers
from edge_daemon.network_parts import much_faster, network_ms, part_ms
from edge_daemon.samples import Samples
from edge_daemon.scales import Scales
from models.model import PREPROCESSING_UNITS

FRAME_SIZES = 20
"""Frames whose median size is planned with."""
WIDEST_LINK = 4.0
"""No transfer is believed to be more times slower or faster than the link's rate says: it met something else."""
WHOLES = 15
"""Times of the whole network whose median counts."""
MOST_SEEN = 64
"""Cuts whose transfers are remembered."""


class CostModel:
    """Learns from profiles and from frames; gives the frontier, and what a cut costs.

    `losses` are what codecs may take from a tensor, if the cut is certified.
    """

    def __init__(self, graph: ModelGraph, losses: frozenset[Loss] = LOSSLESS) -> None:
        self._graph = graph
        self._losses = losses
        self._edge: Profile | None = None
        self._cloud: Profile | None = None
        self._edge_drift, self._cloud_drift = Drift(), Drift()
        self._edge_samples = Samples()
        self._link_drift = Drift()
        self._frame_at = -math.inf
        self._seen_cuts: dict[str, Cut] = {}
        self._frame_sizes: deque[int] = deque(maxlen=FRAME_SIZES)
        self._lengths = CodedLengths()
        self._taken: tuple[Profile | None, Profile | None] = (None, None)
        """The profiles as they were taken; each may be planned with as it was found since."""
        self._edge_wholes_ms: deque[float] = deque(maxlen=WHOLES)
        self._cloud_wholes_ms: deque[float] = deque(maxlen=WHOLES)
        self._shares: dict[Cut, tuple[float | None, float | None]] = {}
        self._segments = SegmentTimes()
        self._built: Frontiers | None = None

    # --- what it learns ---------------------------------------------------------------------------------
    def set_profiles(self, edge: Profile | None, cloud: Profile | None) -> None:
        """Plan with these profiles from now on; none leaves the one there is."""
        if edge is not None:
            self._edge = edge
            self._edge_drift.forget()
            self._edge_samples.forget()
            self._lengths.clear()
            self._edge_wholes_ms.clear()
        if cloud is not None:
            self._cloud = cloud
            self._cloud_drift.forget()
            self._cloud_wholes_ms.clear()
        self._taken = (edge or self._taken[0], cloud or self._taken[1])
        self._shares.clear()
        self._segments = SegmentTimes()

    def saw_whole(self, ms: float) -> None:
        """Take note of what the edge's network took as a whole, after its profile was taken: that may have been in a
        slow moment. Frames tell so only under cuts that leave the edge some of the network.
        """
        self._edge_wholes_ms.append(ms)
        found = much_faster(self._edge, self._taken[0], self._edge_wholes_ms)
        if found is not None:
            self._edge = found
            self._edge_drift.forget()
            self._edge_samples.forget()
            self._build_segments()

    def saw_cloud_whole(self, ms: float) -> None:
        """As `saw_whole`, of the cloud: a plan that does not use it shows nothing of it."""
        self._cloud_wholes_ms.append(ms)
        found = much_faster(self._cloud, self._taken[1], self._cloud_wholes_ms)
        if found is not None:
            self._cloud = found
            self._cloud_drift.forget()
            self._build_segments()

    def _build_segments(self) -> None:
        """Say again what segments take, by their shares of the networks as they are planned with now."""
        self._segments = SegmentTimes()
        for cut, shares in self._shares.items():
            self._add_segments(cut, *shares)

    def saw_segments(self, cut: Cut, head_share: float | None, tail_share: float | None) -> None:
        """Take note of what the network's part of a cut's head, and its tail, take in shares of the whole network."""
        self._shares[cut] = (head_share, tail_share)
        self._add_segments(cut, head_share, tail_share)

    def _add_segments(self, cut: Cut, head_share: float | None, tail_share: float | None) -> None:
        assert self._edge is not None
        assert self._cloud is not None
        before_ms = sum(self._edge.unit_ms[name] for name in cut.edge_units if name in PREPROCESSING_UNITS)
        head_ms = part_ms(self._edge, head_share, cut.cloud_units)
        tail_ms = part_ms(self._cloud, tail_share, cut.edge_units)
        self._segments = self._segments.with_cut(
            cut, None if head_ms is None else before_ms + head_ms, tail_ms
        )

    def saw_frame(self, nbytes: int) -> None:
        """Take note of a frame's size in bytes."""
        self._frame_sizes.append(nbytes)
        self._frame_at = time.monotonic()

    def saw_sent(self, unit: str, codec: str, nbytes: int) -> None:
        """Take note of how long a unit's tensor has become by `codec`: it depends on what the camera sees."""
        if self._edge is not None:
            self._lengths.saw(self._edge, unit, codec, nbytes, time.monotonic())

    def set_lengths(self, unit: str, codec: str, nbytes: Sequence[int]) -> None:
        """Plan with these lengths of a unit's tensor by `codec`, and none from before: frames were coded to see."""
        if self._edge is not None:
            self._lengths.replace(self._edge, unit, codec, nbytes, time.monotonic())

    def saw_stages(self, cut: Cut, edge_ms: float | None, cloud_ms: float | None) -> None:
        """Take note of what a frame's stages under `cut` took, with codecs; none where there was no such stage."""
        if self._edge is None or self._cloud is None or not self._is_built:
            return
        costs = self.costs(cut)
        now = time.monotonic()
        if edge_ms is not None:
            self._edge_drift.add(cut.label, edge_ms, costs.edge_ms, self._edge.total_ms, now)
            self._edge_samples.compare(self._edge_drift, now)
        if cloud_ms is not None:
            self._cloud_drift.add(cut.label, cloud_ms, costs.cloud_ms, self._cloud.total_ms, now)

    def saw_sample(self, cold: float, warm: float) -> None:
        """Take note of how many times as long as its profile says the edge took for something that was no frame: run
        alone, and at once again.

        It counts where the stages of frames tell nothing, by what these told of it when both were seen.
        """
        assert self._edge is not None
        taken = self._taken[0]
        assert taken is not None
        profiled = network_ms(self._edge) / network_ms(taken) if network_ms(taken) else 1.0
        self._edge_samples.add(cold, warm, profiled, time.monotonic())

    def saw_transfer(self, cut: Cut, nbytes: int, took_ms: float, expected_ms: float) -> None:
        """Take note of how long a frame's `nbytes` under `cut` were on the link, and how long they should have been.

        A message is not carried at the link's full rate from its first byte to its last: connections start slowly,
        shallow queues lose what must be sent again, and a burst may be free.
        """
        if nbytes < limits.MIN_GOODPUT_BYTES:  # all that it tells is the round trip
            return
        if cut.label not in self._seen_cuts and len(self._seen_cuts) >= MOST_SEEN:
            self.forget_link()
        self._seen_cuts[cut.label] = cut
        took_ms = min(max(took_ms, expected_ms / WIDEST_LINK), expected_ms * WIDEST_LINK)
        self._link_drift.add(cut.label, took_ms, expected_ms, 0.0, time.monotonic())

    def forget_link(self) -> None:
        """Forget what transfers took: the link was gone."""
        self._link_drift.forget()
        self._seen_cuts.clear()

    # --- what it knows ----------------------------------------------------------------------------------
    @property
    def complete(self) -> bool:
        """Whether both profiles are there; without them nothing below can be asked for."""
        return self._edge is not None and self._cloud is not None

    @property
    def level(self) -> object:
        """What the profiles are: another object after a new one has been taken."""
        return self._taken

    @property
    def scales(self) -> Scales:
        now = time.monotonic()
        known, sampled = self._edge_drift.known(now), self._edge_samples.scale(now)
        edge = self._edge_drift.scale(now) if known or sampled is None else sampled
        return Scales(edge, self._cloud_drift.scale(now))

    @property
    def edge_unseen(self) -> bool:
        """Whether frames come, and none of the last minute's has told how fast the edge is."""
        now = time.monotonic()
        return self.complete and now - self._frame_at <= STALE_S and not self._edge_drift.known(now)

    async def refresh(self) -> None:
        """Build what the frontiers below need on another thread, if it has changed: of a wide graph it takes long."""
        basis = self._basis()
        if self._built is None or not self._built.basis.still_holds(basis):
            sets = self._built.sets if self._built is not None else None
            built = await asyncio.to_thread(Frontiers.build, self._graph, basis, self._losses, sets)
            if basis.is_of(self._edge, self._cloud):
                self._adopt(built)

    def _adopt(self, built: Frontiers) -> None:
        """Plan with `built`. What frames told of the devices was told against the costs of the segments before."""
        if self._built is not None and self._built.basis.segments is not built.basis.segments:
            self._edge_drift.forget()
            self._cloud_drift.forget()
        self._built = built

    def frontier(self, certified: Iterable[Cut] = ()) -> Frontier:
        """Return the frontier of lossless cuts for frames of the present size, with the `certified`."""
        built = self._frontiers()
        entries: list[int] = []
        if built.lossy is not None:
            entries = [entry for cut in certified if (entry := built.lossy.find(cut)) is not None]
            if entries:
                return self._on_this_link(built.lossless.joined(built.lossy.only(entries)))
        return self._on_this_link(built.lossless)

    def lossy_frontier(
        self, without: Iterable[Cut] = (), given_up: frozenset[Loss] = frozenset()
    ) -> Frontier | None:
        """Return the frontier of all cuts whose losses may be allowed; none where none may.

        The cuts in `without` are left out, and those that lose what is `given_up`.
        """
        lossy = self._frontiers().lossy
        if lossy is None:
            return None
        skipped = {lossy.find(cut) for cut in without}
        kept = [
            entry
            for entry, codecs in enumerate(lossy.codecs)
            if entry not in skipped and not any(loss_of(codec) in given_up for codec in codecs)
        ]
        return self._on_this_link(lossy.only(kept))

    def _on_this_link(self, frontier: Frontier) -> Frontier:
        """Return `frontier` with bytes that take as long at the link's rate as transfers do take."""
        now = time.monotonic()
        known = self._link_drift.known(now)
        if not known:
            return frontier
        payload_bytes = frontier.payload_bytes * self._link_scale(now)
        for label in known:
            entry, own = frontier.find(self._seen_cuts[label]), self._link_drift.of(label, now)
            if entry is not None and own is not None:
                payload_bytes[entry] = frontier.payload_bytes[entry] * own
        return replace(frontier, payload_bytes=payload_bytes)

    def _link_scale(self, now: float) -> float:
        """How much longer than by its rate the link takes for cuts that were not seen: no less than that."""
        return max(self._link_drift.scale(now), 1.0)

    def costs(self, cut: Cut) -> Costs:
        """Return what `cut` costs, on the frontier or not, as profiled."""
        built = self._frontiers()
        basis = built.basis
        costs = Costs.of(
            built.sets.graph, cut, basis.edge.unit_ms, basis.cloud.unit_ms, built.codings, basis.segments
        )
        now = time.monotonic()
        own = self._link_drift.of(cut.label, now)
        link_scale = own if own is not None else self._link_scale(now)
        return replace(costs, payload_bytes=costs.payload_bytes * link_scale)

    @property
    def _is_built(self) -> bool:
        return self._built is not None and self._built.basis.is_of(self._edge, self._cloud)

    def _frontiers(self) -> Frontiers:
        """Return what is built of the present profiles; segments and sizes are those of the last refresh."""
        if not self._is_built:
            sets = self._built.sets if self._built is not None else None
            self._adopt(Frontiers.build(self._graph, self._basis(), self._losses, sets))
        assert self._built is not None
        return self._built

    def _basis(self) -> Basis:
        assert self._edge is not None
        assert self._cloud is not None
        usual = self._graph[self._graph.source].output_bytes
        size = statistics.median(self._frame_sizes) if self._frame_sizes else None
        grown = self._lengths.grown(self._edge, size, time.monotonic())
        return Basis(self._edge, self._cloud, self._segments, int(size or usual), grown)
