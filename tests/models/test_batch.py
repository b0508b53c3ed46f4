"""Facts about frames that run together: the same answers as alone, and each its own failure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest
import torch

from common.errors import CleaveError, FrameError
from common.plan import Cut
from models import batch
from models.agreement import difference
from models.batch import BatchRun, BatchSegment
from models.batch_times import RECENT, BatchTimes
from models.executor import Executor, TorchExecutor
from models.model import Model
from models.onnx_executor import OnnxExecutor
from models.onnx_export import load_or_export
from models.preprocess import as_frame
from models.tensor_memory import concatenated, divided
from models.zoo import load_model
from tests.models.classifiers import small_frame
from tests.models.wired import answered
from tests.tiny_model import jpeg, tiny_model


@pytest.fixture(scope="module", params=["squeezenet1_1", "resnet18"])
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(request.param, "random:0", crop_size=64)


@pytest.fixture(scope="module", params=["torch", "onnxruntime"])
def executor(
    request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Executor:
    if request.param == "torch":
        return TorchExecutor()
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return OnnxExecutor(model, TorchExecutor(), load_or_export(model, tmp_path_factory.mktemp("onnx")))


def cuts(model: Model) -> list[Cut]:
    """From the frame itself to the logits, with several tensors among them."""
    graph = model.graph
    prefixes = [Cut.of(graph, graph.names[:n]) for n in range(1, len(graph))]
    several = next(cut for cut in prefixes if len(cut.crossing) > 1)
    middle = prefixes[len(prefixes) // 2]
    return [prefixes[0], prefixes[1], prefixes[2], prefixes[3], several, middle, prefixes[-1]]


def tail(model: Model, executor: Executor, cut: Cut, most: int = 4) -> BatchSegment:
    return BatchSegment(model, executor, model.segment(cut.cloud_units, (model.graph.sink,)), most)


def crossing(model: Model, cut: Cut, frames: Sequence[bytes]) -> list[dict[str, torch.Tensor]]:
    sources = [{model.graph.source: as_frame(frame)} for frame in frames]
    if len(cut.edge_units) == 1:
        return sources
    head = TorchExecutor().compile(model.segment(cut.edge_units, cut.crossing))
    return [head.run(source) for source in sources]


def answers(model: Model, run: BatchRun) -> list[torch.Tensor]:
    found = []
    for outcome in run.outcomes:
        (answer,) = answered(model.graph, outcome).values()
        found.append(answer)
    return found


def test_a_batch_gives_what_its_frames_give_alone(model: Model, executor: Executor) -> None:
    """At cuts from the file itself, with images of several sizes, to the logits, and where several tensors cross."""
    frames = [small_frame(), small_frame(90, 140, 1), small_frame(200, 80, 2)]
    for cut in cuts(model):
        together = tail(model, executor, cut)
        inputs = crossing(model, cut, frames)
        alone = [answers(model, together.run([one]))[0] for one in inputs]
        for one, other in zip(alone, answers(model, together.run(inputs)), strict=True):
            assert other.shape == (1, 5, 2)
            torch.testing.assert_close(other[..., 1], one[..., 1], rtol=1e-4, atol=1e-7, msg=cut.label)
            assert set(other[0, :, 0].tolist()) == set(one[0, :, 0].tolist())


def sizes_run(together: BatchSegment, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that is told how many frames each run of the network has."""
    assert together._together is not None
    network, ran = together._together.run, []

    def counted(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        ran.append(next(iter(inputs.values())).shape[0])
        return network(inputs)

    monkeypatch.setattr(together._together, "run", counted)
    return ran


def test_batches_are_verified_before_they_are_used(
    model: Model, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one at first; once two together are found to be as two alone, sizes are measured, each in its step."""
    monkeypatch.setattr(batch, "LONGEST_MS", float("inf"))
    cut = cuts(model)[4]
    together = tail(model, executor, cut)
    together.warm(crossing(model, cut, [small_frame()])[0])
    together.want(4)
    assert together.best(4, time.perf_counter()) == 1
    assert together.has_more_to_learn
    steps = together.learn()
    next(steps)
    assert together.best(4, time.perf_counter()) == 1, "not measured yet"
    for _ in steps:
        pass
    assert all(together.times.ms(size) is not None for size in (1, 2, 4))


def test_what_is_too_slow_for_two_at_once_is_not_tried_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames of a new plan would wait behind that: a network of 350 ms would be held up for three times as long."""
    monkeypatch.setattr(batch, "LONGEST_MS", 0.0)
    model = tiny_model()
    together = tail(model, TorchExecutor(), Cut.of(model.graph, model.graph.names[:4]))
    ran = sizes_run(together, monkeypatch)
    together.want(4)
    list(together.learn())
    assert ran == [1]
    assert together.best(4, time.perf_counter()) == 1
    assert "two at once would take too long" in capsys.readouterr().out


def test_each_step_of_learning_runs_the_network_once(
    model: Model, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that comes meanwhile waits for no more than that."""
    monkeypatch.setattr(batch, "LONGEST_MS", float("inf"))
    together = tail(model, executor, cuts(model)[4])
    ran = sizes_run(together, monkeypatch)
    together.want(4)
    before = 0
    for _ in together.learn():
        assert len(ran) - before <= 1
        before = len(ran)
    assert set(ran) == {1, 2, 4}


def test_only_sizes_that_frames_have_waited_for_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of other stages would wait for runs that nobody needs; more are learnt when more have waited."""
    monkeypatch.setattr(batch, "LONGEST_MS", float("inf"))
    model = tiny_model()
    together = tail(model, TorchExecutor(), Cut.of(model.graph, model.graph.names[:4]), most=8)
    ran = sizes_run(together, monkeypatch)
    list(together.learn())
    assert not ran
    assert not together.is_wanted
    for waiting, sizes in ((2, {1, 2}), (3, {1, 2}), (5, {1, 2, 4}), (100, {1, 2, 4, 8})):
        known = {size for size in sizes if together.times.ms(size) is not None}
        together.want(waiting)
        assert together.best(waiting, time.perf_counter()) <= max(known, default=1)
        assert together.has_more_to_learn == (known != sizes)
        list(together.learn())
        assert not together.has_more_to_learn
        assert set(ran) == sizes


def test_what_computes_something_else_together_runs_one_by_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that looks at the batch as a whole (its mean, say) is never given two frames."""
    model = tiny_model()
    together = tail(model, TorchExecutor(), Cut.of(model.graph, model.graph.names[:4]))
    network = together._network

    def mixed(frames: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: tensor * (1 + 0.01 * (len(frames) - 1)) for name, tensor in network(frames).items()}

    monkeypatch.setattr(together, "_network", mixed)
    together.want(4)
    list(together.learn())
    assert together.best(4, time.perf_counter()) == 1
    assert "batches compute something else, frames run one by one" in capsys.readouterr().out


def test_what_takes_no_batch_runs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network made for one frame (a reshape to a fixed size) refuses two; nobody's frame has to find out."""
    model = tiny_model()
    together = tail(model, TorchExecutor(), Cut.of(model.graph, model.graph.names[:4]))
    network = together._network

    def single(frames: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        if len(frames) > 1:
            raise RuntimeError("shape '[1, 64]' is invalid for input of size 128")
        return network(frames)

    monkeypatch.setattr(together, "_network", single)
    together.want(4)
    list(together.learn())
    assert together.best(4, time.perf_counter()) == 1


def test_a_damaged_frame_fails_alone() -> None:
    """The frames beside it in the batch are answered, as if it had not been there."""
    model = tiny_model()
    cut = Cut.cloud_only(model.graph)
    together = tail(model, TorchExecutor(), cut)
    damaged = [b"no image", jpeg(0, (64, 64))[:300]]
    good = crossing(model, cut, [jpeg(1), jpeg(2)])
    bad = crossing(model, cut, damaged)
    run = together.run([good[0], bad[0], good[1], bad[1]])
    kinds = [type(outcome) for outcome in run.outcomes]
    assert kinds == [tuple, FrameError, tuple, FrameError]
    for outcome, one in ((run.outcomes[0], good[0]), (run.outcomes[2], good[1])):
        found = answered(model.graph, outcome)[model.graph.sink]
        torch.testing.assert_close(found, answers(model, together.run([one]))[0])
    assert all(isinstance(outcome, FrameError) for outcome in together.run(bad).outcomes)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of memory"), "the tail failed: out of memory"),
        (IndexError("index out of range in self"), "the tail failed: IndexError: index out of range in self"),
        (ValueError("no number"), "the tail failed: ValueError: no number"),
    ],
)
def test_a_batch_that_fails_by_one_frame_is_run_frame_by_frame(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    """Whatever is raised, that frame alone fails; its number of frames is not at fault, and is run again."""
    model, together, inputs, expected = three_frames()
    network = together._network

    def failing(frames: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        if any(frame is inputs[1] for frame in frames):
            raise error
        return network(frames)

    monkeypatch.setattr(together, "_network", failing)
    run = together.run(inputs)
    assert "its frames run one by one" in capsys.readouterr().out
    assert [type(outcome) for outcome in run.outcomes] == [tuple, CleaveError, tuple]
    assert str(run.outcomes[1]) == said
    for outcome, wanted in ((run.outcomes[0], expected[0]), (run.outcomes[2], expected[2])):
        torch.testing.assert_close(answered(model.graph, outcome)["answer"], wanted)
    assert together.best(3, time.perf_counter()) == 3


def test_a_batch_that_fails_by_the_number_of_its_frames_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of memory with three may do with one: all of them are answered, and so many are not tried again."""
    model, together, inputs, expected = three_frames()
    network = together._network

    def failing(frames: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        if len(frames) > 1:
            raise RuntimeError("out of memory")
        return network(frames)

    monkeypatch.setattr(together, "_network", failing)
    for found, wanted in zip(answers(model, together.run(inputs)), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert together.best(3, time.perf_counter()) == 2


def three_frames() -> tuple[Model, BatchSegment, list[dict[str, torch.Tensor]], list[torch.Tensor]]:
    """A tail for which larger batches are better, three frames' tensors, and their answers."""
    model = tiny_model()
    cut = Cut.of(model.graph, model.graph.names[:5])
    together = tail(model, TorchExecutor(), cut)
    inputs = crossing(model, cut, [jpeg(n) for n in range(3)])
    expected = [answers(model, together.run([one]))[0] for one in inputs]
    together.times = BatchTimes()
    for _ in range(RECENT):
        for size, ms in ((1, 1.0), (2, 1e-6), (3, 1e-6)):  # single ones are run in truth, too
            together.times.add(size, ms, time.perf_counter())
    return model, together, inputs, expected


def test_a_frame_whose_preprocessing_fails_in_any_way_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has errors of many kinds; the other frames of the batch are not concerned."""
    model = tiny_model()
    cut = Cut.cloud_only(model.graph)
    together = tail(model, TorchExecutor(), cut)
    inputs = crossing(model, cut, [jpeg(number) for number in range(4)])
    preprocessed = together._preprocessed

    def failing(frame: dict[str, torch.Tensor]) -> object:
        if frame is inputs[0]:
            raise IndexError("too many indices")
        return preprocessed(frame)

    monkeypatch.setattr(together, "_preprocessed", failing)
    outcomes = together.run(inputs).outcomes
    assert str(outcomes[0]) == "the tail failed: IndexError: too many indices"
    assert all(answered(model.graph, outcome) for outcome in outcomes[1:])
    assert together.times.ms(3) is None, (
        "no size to choose: none but the powers of two is ever learnt or warmed"
    )


def test_channels_last_stays_channels_last() -> None:
    """A batch of frames that came channels last needs no rearranging, if not asked for; one is not copied."""
    frames = [torch.randn(1, 8, 5, 5).contiguous(memory_format=torch.channels_last) for _ in range(3)]
    joined = concatenated(frames)
    assert joined.is_contiguous(memory_format=torch.channels_last)
    assert concatenated(frames[:1]) is frames[0]
    turned = concatenated(frames, torch.contiguous_format)
    assert turned.is_contiguous()
    assert torch.equal(turned, joined)
    for part, frame in zip(divided(joined, 3), frames, strict=True):
        assert torch.equal(part, frame)
        assert part.is_contiguous(memory_format=torch.channels_last)


def test_what_does_not_divide_is_an_error() -> None:
    """A tensor that has not as many rows as frames, or none, cannot be handed out."""
    for tensor in (torch.zeros(3, 2), torch.tensor(1.0)):
        with pytest.raises(RuntimeError, match="does not divide into 2 frames"):
            divided(tensor, 2)


def test_differences_are_in_shares_of_the_largest() -> None:
    """Another shape is as different as can be, and so is what is no number."""
    one = torch.tensor([[1.0, -10.0]])
    assert difference(one, torch.tensor([[1.0, -9.0]])) == pytest.approx(0.1)
    assert difference(one, one[:, :1]) == float("inf")
    assert not difference(one, torch.tensor([[float("nan"), 1.0]])) <= 1.0
