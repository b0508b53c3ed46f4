"""Profiles add up to what was measured as a whole, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from common.errors import FrameError
from models.cancel_token import CancelToken
from models.executor import TorchExecutor
from models.model import Model
from models.profiler import ProfileRun, profile_model
from models.segment import Segment
from models.zoo import load_model
from tests.models.classifiers import small_frame


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


class Timetable:
    """An executor and a clock: a unit takes its position in ms, a segment of several half their sum.

    The first run of anything takes ten times as long.
    """

    name = "timetable"
    device = device_description = "a clock"
    threads = 1
    most_kept = 16
    compiles_anywhere = True
    brings_threads = False
    fetches = False

    def __init__(self, model: Model, slowdown: float = 1.0) -> None:
        self.model, self.slowdown = model, slowdown
        self.inner = TorchExecutor()
        self.pace = self.inner.pace
        self.tolerance = self.inner.tolerance
        self.join, self.fetch = self.inner.join, self.inner.fetch
        self.now = self.waited = 0.0
        self.order: list[tuple[str, ...]] = []
        """What has run."""

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited += seconds

    def stop(self) -> None: ...

    def compile(self, segment: Segment) -> TimetableSegment:
        return TimetableSegment(segment, self)

    def cost_s(self, units: tuple[str, ...]) -> float:
        total = sum(self.model.graph.index[name] for name in units) / 1000
        return total if len(units) == 1 else total / 2


class TimetableSegment:
    def __init__(self, segment: Segment, table: Timetable) -> None:
        self.segment, self.table = segment, table
        self.inner = table.inner.compile(segment)

    def execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        first = self.segment.units not in self.table.order
        self.table.order.append(self.segment.units)
        self.table.now += self.table.cost_s(self.segment.units) * (10 if first else 1)
        return self.inner.execute(inputs)

    def run(
        self, inputs: Mapping[str, torch.Tensor], token: CancelToken | None = None
    ) -> dict[str, torch.Tensor]:
        before = self.table.now
        outputs = self.execute(inputs)
        self.table.now += (self.table.slowdown - 1) * (self.table.now - before)
        return outputs

    def warm(self, inputs: Mapping[str, torch.Tensor]) -> None:
        self.execute(inputs)


def finished(run: ProfileRun) -> ProfileRun:
    while not run.step():
        pass
    return run


@pytest.mark.parametrize("slowdown", [1.0, 6.0])
def test_unit_times_add_up_to_the_wholes(model: Model, slowdown: float) -> None:
    """Units keep their proportions, their sums are the wholes times the slowdown, and warm-up does not count."""
    table = Timetable(model, slowdown)
    profile = finished(ProfileRun(model, table, small_frame(), clock=table.clock, wait=table.wait)).profile()
    names = model.graph.names
    assert sum(profile.unit_ms[n] for n in names[:4]) == pytest.approx(slowdown * (1 + 2 + 3) / 2)
    network = names[4:]
    assert sum(profile.unit_ms[n] for n in network) == pytest.approx(slowdown * sum(range(4, len(names))) / 2)
    for name in names:
        assert profile.unit_ms[name] == pytest.approx(slowdown * model.graph.index[name] / 2)
    assert profile.key.slowdown == slowdown


def test_everything_runs_after_a_pause_as_frames_do(model: Model) -> None:
    """A pass over the units is followed by a pause, as long as it or as the pacing makes it; so is a whole."""
    table = Timetable(model)
    finished(ProfileRun(model, table, small_frame(), clock=table.clock, wait=table.wait))
    units = sum(table.cost_s((name,)) for name in model.graph.names)
    wholes = sum(table.cost_s(part) for part in (model.graph.names[:4], model.graph.names[4:]))
    assert table.waited == pytest.approx((units + wholes) * (10 + 7))
    paced = Timetable(model, 6.0)
    finished(ProfileRun(model, paced, small_frame(), clock=paced.clock, wait=paced.wait))
    assert paced.waited == pytest.approx(5 * units * (10 + 7))


def test_units_run_in_turn_as_in_a_frame(model: Model) -> None:
    """No unit runs twice in a row: it would find its weights in the caches, as it does not in a frame."""
    table = Timetable(model)
    finished(ProfileRun(model, table, small_frame(), clock=table.clock, wait=table.wait))
    names = model.graph.names
    one_round = [(name,) for name in names[1:]] + [names[:4], names[4:]]
    assert (
        table.order == one_round * 8 + one_round[:-3]
    )  # the last pass is for the codecs; the answer has none


def test_measuring_goes_in_counted_steps(model: Model) -> None:
    """Each step runs one unit, one whole or one codec once; a profile is there after the last, not before."""
    table = Timetable(model)
    run = ProfileRun(model, table, small_frame(), clock=table.clock, wait=table.wait)
    rounds = 8 * (len(model.graph) - 1 + 2)
    assert run.total_steps > rounds
    for done in range(1, run.total_steps + 1):
        with pytest.raises(RuntimeError, match=f"{run.total_steps - run.done_steps} steps left"):
            run.profile()
        assert run.step() is (done == run.total_steps)
        assert run.done_steps == done
        if done <= rounds:
            assert len(table.order) == done
    assert run.step() is True
    assert run.done_steps == run.total_steps
    assert run.profile().unit_ms.keys() == set(model.graph.names)


def test_tensors_are_kept_only_as_long_as_they_are_read(model: Model) -> None:
    """Measuring needs the memory of the tensors that are still to be read, not of all."""
    run = finished(ProfileRun(model, TorchExecutor(), small_frame()))
    assert set(run._tensors) == {model.network_units[-1]}


def test_a_profile_tells_what_each_codec_costs_where_it_is_for_the_tensor(model: Model) -> None:
    """Activations have the float codecs, the resized image the image codecs, the file and the answer none."""
    executor = TorchExecutor()
    codings = finished(ProfileRun(model, executor, small_frame())).profile().codings
    assert {coding.codec for coding in codings["resize"]} == {"webp-lossless", "webp80", "jpeg90", "jpeg75"}
    first = {coding.codec: coding for coding in codings[model.network_units[0]]}
    raw = model.graph[model.network_units[0]].output_bytes
    assert set(first) == {"zstd", "f16", "f16-zstd", "int8", "int8-zstd"}
    assert first["f16"].payload_bytes == raw / 2
    assert first["int8-zstd"].payload_bytes < first["int8"].payload_bytes < first["zstd"].payload_bytes < raw
    assert all(coding.encode_ms > 0 < coding.decode_ms for rows in codings.values() for coding in rows)
    assert not {"frame", "answer"} & set(codings)


def test_a_profile_says_what_it_is_valid_for(model: Model) -> None:
    """Model, device, executor, threads, slowdown and frame size are its key."""
    executor = TorchExecutor(slowdown=3)
    steps: list[tuple[int, int]] = []
    profile = profile_model(
        model, executor, small_frame(100, 80), lambda done, total: steps.append((done, total))
    )
    key = profile.key
    assert key.fingerprint == model.fingerprint
    assert (key.executor, key.device) == ("torch", executor.device_description)
    assert (key.threads, key.slowdown, key.frame) == (executor.threads, 3, "100x80")
    assert steps[-1] == (len(steps), len(steps))
    assert profile.unit_ms["frame"] == 0
    assert all(ms > 0 for name, ms in profile.unit_ms.items() if name != "frame")


def test_a_bad_frame_is_refused_before_measuring(model: Model) -> None:
    """A profile over what is no image does not begin."""
    with pytest.raises(FrameError, match="not a readable image"):
        ProfileRun(model, TorchExecutor(), b"no image")
