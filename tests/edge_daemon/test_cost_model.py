"""Facts about the cost model: what it learns from profiles and frames, and what it gives a decision."""

from __future__ import annotations

import time

import pytest

from common.plan import Cut
from common.profile import Coding, Profile, ProfileKey
from common.wire.codecs import Loss
from edge_daemon import cost_model as module
from edge_daemon.coded_lengths import STALE_S as LENGTHS_STALE_S
from edge_daemon.cost_model import WIDEST_LINK, CostModel
from edge_daemon.drift import FEWEST, STALE_S
from edge_daemon.network_parts import FASTEST, network_ms
from edge_daemon.samples import OFF_HOLDS_S
from edge_daemon.scales import Scales
from tests.event_loop import run
from tests.tiny_model import tiny_model

GRAPH = tiny_model().graph
KEY = ProfileKey(tiny_model().fingerprint, "a device", "torch", 1, 1.0, "40x30")
EDGE = Profile(KEY, dict.fromkeys(GRAPH.names, 4.0))
CLOUD = Profile(KEY, dict.fromkeys(GRAPH.names, 1.0))
EDGE_ONLY, CLOUD_ONLY = Cut.edge_only(GRAPH), Cut.cloud_only(GRAPH)


def complete() -> CostModel:
    model = CostModel(GRAPH)
    model.set_profiles(EDGE, None)
    model.set_profiles(None, CLOUD)
    model.frontier()
    return model


def test_it_is_complete_with_both_profiles() -> None:
    """One side's profile is not enough, and nothing is learnt of stages before."""
    model = CostModel(GRAPH)
    model.saw_stages(EDGE_ONLY, 1000.0, None)
    model.set_profiles(EDGE, None)
    assert not model.complete
    model.saw_stages(EDGE_ONLY, 1000.0, None)
    model.set_profiles(None, CLOUD)
    assert model.complete
    assert model.scales == Scales(1.0, 1.0)


def test_costs_follow_the_size_of_frames() -> None:
    """The frame's bytes are those of recent frames, in the frontier and in any cut's costs."""

    async def main() -> None:
        model = complete()
        for _ in range(20):
            model.saw_frame(123_456)
        await model.refresh()
        frontier = model.frontier()
        assert frontier.sets.graph[GRAPH.source].output_bytes == 123_456
        assert model.costs(CLOUD_ONLY).payload_bytes == 123_456
        for _ in range(20):
            model.saw_frame(125_000)
        await model.refresh()
        assert model.frontier() is frontier, "a change that small is none"
        for _ in range(20):
            model.saw_frame(200_000)
        await model.refresh()
        assert model.frontier().sets.graph[GRAPH.source].output_bytes == 200_000

    run(main())


def test_each_device_drifts_alone() -> None:
    """Heads tell of the edge, tails of the cloud, against what the cut's units were profiled at."""
    model = complete()
    head_ms = 4.0 * len(EDGE_ONLY.edge_units)
    for _ in range(20):
        model.saw_stages(EDGE_ONLY, 1.5 * head_ms, None)
    assert (model.scales.edge, model.scales.cloud) == pytest.approx((1.5, 1.0))
    tail_ms = 1.0 * len(CLOUD_ONLY.cloud_units)
    for _ in range(20):
        model.saw_stages(CLOUD_ONLY, None, 3.0 * tail_ms)
    assert (model.scales.edge, model.scales.cloud) == pytest.approx((1.5, 3.0))
    model.set_profiles(EDGE, None)
    assert (model.scales.edge, model.scales.cloud) == pytest.approx((1.0, 3.0)), "the cloud is as it was"


def test_samples_count_where_frames_tell_nothing_of_the_edge() -> None:
    """They are asked for while frames come, and what frames' stages tell is nearer the truth."""
    model = CostModel(GRAPH)
    model.saw_frame(1000)
    model.set_profiles(EDGE, None)
    assert not model.edge_unseen, "there is no cloud to choose"
    model.set_profiles(None, CLOUD)
    model.frontier()
    assert model.edge_unseen
    for _ in range(FEWEST):
        assert model.scales.edge == 1.0
        model.saw_sample(0.4, 0.4)
    assert model.scales.edge == pytest.approx(0.4)
    assert model.edge_unseen, "by frames"
    for _ in range(FEWEST):
        model.saw_stages(EDGE_ONLY, 1.5 * EDGE.total_ms, None)
    assert not model.edge_unseen
    assert model.scales.edge == pytest.approx(1.5)
    model.set_profiles(EDGE, None)
    assert model.scales.edge == 1.0, "it was told of another profile"


def test_what_samples_are_wrong_by_is_learnt_from_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few units stand for the whole but roughly: taken for its speed they would move the cut to and fro."""
    model = complete()
    for _ in range(FEWEST):
        model.saw_sample(0.6, 0.6)
    assert model.scales.edge == pytest.approx(0.6)
    for _ in range(FEWEST):
        model.saw_stages(EDGE_ONLY, EDGE.total_ms, None)
    assert model.scales.edge == pytest.approx(1.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STALE_S + 1.0)
    for _ in range(FEWEST):
        model.saw_sample(0.6, 0.6)
    assert model.scales.edge == pytest.approx(1.0), "as slow as when frames showed it"
    for _ in range(2 * FEWEST):
        model.saw_sample(1.8, 1.8)
    assert model.scales.edge == pytest.approx(3.0)


def test_what_samples_are_corrected_by_holds_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the device that became slow between them: kept for ever, it would keep the edge from being used."""
    model = complete()
    for ratio, ms in ((1.0, None), (None, 2.0 * EDGE.total_ms)):
        for _ in range(FEWEST):
            if ratio is not None:
                model.saw_sample(ratio, ratio)
            else:
                model.saw_stages(EDGE_ONLY, ms, None)
    now = time.monotonic()
    for later_s, scale in ((STALE_S + 1.0, 2.0), (OFF_HOLDS_S + 1.0, 1.0)):
        monkeypatch.setattr(time, "monotonic", lambda later_s=later_s: now + later_s)
        for _ in range(FEWEST):
            model.saw_sample(1.0, 1.0)
        assert model.scales.edge == pytest.approx(scale)


def test_samples_do_not_undo_what_the_whole_network_has_shown() -> None:
    """Their cold caches are forgiven beside what is planned with, not beside a profile that was found to be slow."""
    model = complete()
    for _ in range(3):
        model.saw_whole(4.0 * (len(GRAPH) - 4) / 2.0)
    for _ in range(FEWEST):
        model.saw_sample(0.5 * 1.2, 0.5 * 0.9)
    assert model.scales.edge == 1.0


def test_samples_are_as_old_as_news_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute the profile holds again, and where no frames come nothing is asked for."""
    model = complete()
    model.saw_frame(1000)
    for _ in range(FEWEST):
        model.saw_sample(3.0, 3.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STALE_S + 1.0)
    assert model.scales.edge == 1.0
    assert not model.edge_unseen


def test_scales_worth_a_word_are_told() -> None:
    """What is within noise of the profile goes without saying."""
    assert str(Scales(1.1, 0.9)) == ""
    assert str(Scales(1.3, 1.0)) == "the edge is 1.3 × as slow as profiled"
    assert (
        str(Scales(0.5, 4.0))
        == "the edge is 2.0 × as fast as profiled, the cloud is 4.0 × as slow as profiled"
    )


def coded(encode_ms: float, decode_ms: float) -> dict[str, tuple[Coding, ...]]:
    raw = GRAPH["resize"].output_bytes
    return {
        "resize": (
            Coding("webp-lossless", raw / 2, encode_ms, decode_ms),
            Coding("jpeg75", raw / 10, encode_ms, decode_ms),
        )
    }


def with_codecs(losses: frozenset[Loss] = frozenset(), frame_bytes: int | None = None) -> CostModel:
    model = CostModel(GRAPH, losses)
    model.set_profiles(Profile(KEY, EDGE.unit_ms, coded(2.0, 9.0), frame_bytes), None)
    model.set_profiles(None, Profile(KEY, CLOUD.unit_ms, coded(9.0, 0.5)))
    return model


RESIZED = ("frame", "decode", "resize")
LOSSLESS = Cut.of(GRAPH, RESIZED, {"resize": "webp-lossless"})
LOSSY = Cut.of(GRAPH, RESIZED, {"resize": "jpeg75"})


def test_a_codec_costs_the_edge_its_encoding_and_the_cloud_its_decoding() -> None:
    """Bytes and time to encode are those of the edge's profile, time to decode those of the cloud's."""
    model = with_codecs()
    raw, packed = model.costs(Cut.of(GRAPH, RESIZED)), model.costs(LOSSLESS)
    assert packed.edge_ms == raw.edge_ms + 2.0
    assert packed.cloud_ms == raw.cloud_ms + 0.5
    assert packed.payload_bytes == raw.payload_bytes / 2


def test_lossy_cuts_are_on_the_frontier_only_when_certified() -> None:
    """Without a certificate, only lossless ones; with it, that one, too; never what is refused or given up."""
    model = with_codecs(frozenset({Loss.IMAGE}))
    assert model.frontier().find(LOSSLESS) is not None
    assert model.frontier().find(LOSSY) is None
    assert model.frontier([LOSSY]).find(LOSSY) is not None
    assert with_codecs().lossy_frontier() is None
    everything = model.lossy_frontier()
    assert everything is not None
    assert everything.find(LOSSY) is not None
    for fewer in (model.lossy_frontier([LOSSY]), model.lossy_frontier(given_up=frozenset({Loss.IMAGE}))):
        assert fewer is not None
        assert fewer.find(LOSSY) is None
        assert len(fewer) < len(everything)


def test_lengths_follow_what_the_codecs_make_of_frames() -> None:
    """An image that packs worse than the profiled one costs more bytes, once that is the rule."""

    async def main() -> None:
        model = with_codecs()
        before = model.costs(LOSSLESS).payload_bytes
        for _ in range(20):
            model.saw_sent("resize", "webp-lossless", int(1.5 * before))
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == pytest.approx(1.5 * before, rel=0.01)

    run(main())


def test_lengths_go_with_the_frames_files_where_none_were_seen() -> None:
    """Frames of half the profiled one's size pack to half its length; what a codec made of them says more."""

    async def main() -> None:
        model = with_codecs(frame_bytes=100_000)
        before = model.costs(LOSSLESS).payload_bytes
        for _ in range(20):
            model.saw_frame(50_000)
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == pytest.approx(0.5 * before)
        model.saw_sent("resize", "webp-lossless", int(0.8 * before))
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == pytest.approx(0.8 * before, rel=0.01)

    run(main())


def test_lengths_of_long_ago_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left because it packed badly by night is considered again by day; nobody sends it to find out."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    async def main() -> None:
        nonlocal now
        model = with_codecs()
        before = model.costs(LOSSLESS).payload_bytes
        for _ in range(20):
            model.saw_sent("resize", "webp-lossless", int(1.8 * before))
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == pytest.approx(1.8 * before, rel=0.01)
        now += LENGTHS_STALE_S + 1.0
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == before
        model.saw_sent("resize", "webp-lossless", int(1.2 * before))
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == pytest.approx(1.2 * before, rel=0.01)

    run(main())


def test_lengths_that_were_looked_for_take_the_place_of_those_before() -> None:
    """A cut that was left for noise has left twenty lengths behind: five new ones count, and not these."""

    async def main() -> None:
        model = with_codecs()
        before = model.costs(LOSSLESS).payload_bytes
        for _ in range(20):
            model.saw_sent("resize", "webp-lossless", int(1.8 * before))
        model.set_lengths("resize", "webp-lossless", [int(0.5 * before)] * 5)
        await model.refresh()
        assert model.costs(LOSSLESS).payload_bytes == pytest.approx(0.5 * before, rel=0.01)

    run(main())


def test_the_cuts_that_were_seen_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many, and what was seen of the others is forgotten as a whole: nothing refers to it any more."""
    monkeypatch.setattr(module, "MOST_SEEN", 1)
    model = complete()
    other = Cut.of(GRAPH, RESIZED)
    before = model.costs(CLOUD_ONLY).payload_bytes
    for _ in range(10):
        model.saw_transfer(CLOUD_ONLY, 100_000, 150.0, 100.0)
    model.saw_transfer(other, 50_000, 50.0, 100.0)
    assert model.frontier().find(CLOUD_ONLY) is not None
    assert model.costs(CLOUD_ONLY).payload_bytes == before


def test_a_link_that_carries_messages_slower_than_its_rate_costs_more() -> None:
    """The cut that was seen costs what its transfers took; others no less than the rate says, and in proportion."""
    model = complete()
    other = Cut.of(GRAPH, RESIZED)
    before = {cut: model.costs(cut).payload_bytes for cut in (CLOUD_ONLY, other)}
    for _ in range(10):
        model.saw_transfer(CLOUD_ONLY, 100_000, 150.0, 100.0)
    assert model.costs(CLOUD_ONLY).payload_bytes == pytest.approx(1.5 * before[CLOUD_ONLY])
    assert model.costs(other).payload_bytes == pytest.approx(1.5 * before[other])
    for _ in range(10):
        model.saw_transfer(other, 50_000, 50.0, 100.0)
    assert model.costs(other).payload_bytes == pytest.approx(0.5 * before[other]), "a burst is free"
    frontier = model.frontier()
    for cut in (CLOUD_ONLY, other, EDGE_ONLY):
        entry = frontier.find(cut)
        if entry is not None:
            assert frontier.payload_bytes[entry] == pytest.approx(model.costs(cut).payload_bytes)


def test_few_or_absurd_transfers_do_not_move_the_costs() -> None:
    """One slow message is a hiccup; no link is believed to be many times worse than its rate."""
    model = complete()
    before = model.costs(CLOUD_ONLY).payload_bytes
    model.saw_transfer(CLOUD_ONLY, 100_000, 900.0, 100.0)
    assert model.costs(CLOUD_ONLY).payload_bytes == before
    for _ in range(10):
        model.saw_transfer(CLOUD_ONLY, 2_000, 9.0, 0.1)
    assert model.costs(CLOUD_ONLY).payload_bytes == before, "a packet or two tell the round trip"
    for _ in range(10):
        model.saw_transfer(CLOUD_ONLY, 100_000, 1e9, 100.0)
    assert model.costs(CLOUD_ONLY).payload_bytes == pytest.approx(WIDEST_LINK * before)


def test_measured_segments_count_beside_pre_processing_as_profiled() -> None:
    """A head is its pre-processing and its share of the network, a tail its share; the ends stay as they were."""

    async def main() -> None:
        model = complete()
        cut = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["add"]])
        network = [name for name in GRAPH.names if name not in ("frame", "decode", "resize", "normalize")]
        model.saw_segments(cut, 0.5, 0.5)
        await model.refresh()
        costs = model.costs(cut)
        assert costs.edge_ms == pytest.approx(4 * 4.0 + 0.5 * 4.0 * len(network))
        assert costs.cloud_ms == pytest.approx(0.5 * len(network))
        assert model.costs(EDGE_ONLY).edge_ms == pytest.approx(EDGE.total_ms)

    run(main())


@pytest.mark.parametrize(("faster", "counts"), [(0.5, 1.0), (1.2, 1.0), (2.0, 2.0), (100.0, FASTEST)])
def test_a_profile_taken_in_a_slow_moment_gives_way_to_what_the_network_takes(
    faster: float, counts: float
) -> None:
    """Much less than profiled, that is; then segments measured before are shares of that, too, and samples, which are
    told in times of the profile as it was taken, say the same. Nothing has to be measured anew for it."""

    async def main() -> None:
        model = complete()
        level = model.level
        cut = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["add"]])
        model.saw_segments(cut, 0.5, 0.5)
        await model.refresh()
        network = 4.0 * (len(GRAPH) - 4)
        for _ in range(3):
            model.saw_whole(network / faster)
        model.saw_frame(40)
        for _ in range(FEWEST):
            model.saw_sample(1 / counts, 1 / counts)
        assert model.scales == Scales(1.0, 1.0)
        await model.refresh()
        assert model.costs(EDGE_ONLY).edge_ms == pytest.approx(4 * 4.0 + network / counts)
        assert model.costs(cut).edge_ms == pytest.approx(4 * 4.0 + 0.5 * network / counts)
        assert model.costs(cut).cloud_ms == pytest.approx(0.5 * (len(GRAPH) - 4))
        assert model.level == level

    run(main())


@pytest.mark.parametrize(("faster", "counts"), [(0.5, 1.0), (1.2, 1.0), (2.0, 2.0), (100.0, FASTEST)])
def test_so_does_the_clouds_profile(faster: float, counts: float) -> None:
    """It is taken once, of a cloud that was busy perhaps, and a plan without the cloud shows nothing of it."""

    async def main() -> None:
        model = complete()
        cut = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["add"]])
        model.saw_segments(cut, 0.5, 0.5)
        await model.refresh()
        before_ms, network = model.costs(CLOUD_ONLY).cloud_ms, network_ms(CLOUD)
        for _ in range(3):
            model.saw_cloud_whole(network / faster)
        await model.refresh()
        assert model.costs(CLOUD_ONLY).cloud_ms == pytest.approx(before_ms - network + network / counts)
        assert model.costs(cut).cloud_ms == pytest.approx(0.5 * network / counts)
        assert model.costs(EDGE_ONLY).edge_ms == pytest.approx(EDGE.total_ms)
        model.set_profiles(None, CLOUD)
        await model.refresh()
        assert model.costs(CLOUD_ONLY).cloud_ms == pytest.approx(before_ms), (
            "another one is believed at first"
        )

    run(main())


def test_frames_between_a_measurement_and_the_next_look_tell_nothing_twice() -> None:
    """Their stages are slower than the costs that still hold, by what the measured segment is going to be slower."""

    async def main() -> None:
        model = complete()
        cut = Cut.of(GRAPH, GRAPH.names[: GRAPH.index["add"]])
        costs = model.costs(cut)
        model.saw_segments(cut, 0.9, 0.9)
        for _ in range(10):
            model.saw_stages(cut, 1.3 * costs.edge_ms, 1.3 * costs.cloud_ms)
        await model.refresh()
        assert model.scales == Scales(1.0, 1.0)

    run(main())
