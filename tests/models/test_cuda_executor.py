"""Facts about the executor for GPUs that need none: what it queues, where, when it waits, and what it computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from common.errors import FrameError, PlanError
from common.plan import Cut
from common.wire.incoming import aligned_buffer
from models import cuda_executor, cuda_graphs
from models.agreement import difference
from models.batch import BatchSegment
from models.cuda_executor import CudaExecutor, CudaSegment
from models.executor import CompiledSegment, Executor, TorchExecutor
from models.model import Model
from models.precision import Precision, tolerance_of, torch_dtype
from models.preprocess import as_frame
from models.tensor_memory import tensor_of
from models.zoo import load_model
from tests.models.classifiers import assert_close, small_frame
from tests.models.fake_cuda import FakeCuda
from tests.models.wired import answered


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


@pytest.fixture
def graphs_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU a replay takes as long as the work: whether it gains would be chance."""
    monkeypatch.setattr(cuda_graphs, "is_worth", lambda eager_ms, graph_ms: True)


def network(model: Model, executor: CudaExecutor) -> CudaSegment:
    return executor.compile(model.segment(model.network_units, model.network_units[-1:]))


def image(seed: int = 0, frames: int = 1) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {"normalize": torch.randn(frames, 3, 64, 64, generator=source)}


def test_it_is_an_executor(model: Model) -> None:
    """CudaExecutor fills the interface, and describes the device it runs on."""
    executor: Executor = CudaExecutor(FakeCuda(), threads=1)
    compiled: CompiledSegment = executor.compile(model.segment(["frame"], ["frame"]))
    assert compiled.segment.outputs == ("frame",)
    assert (executor.name, executor.device, executor.device_description) == ("torch", "cpu", "a GPU")


def test_outputs_are_those_of_the_cpu(model: Model) -> None:
    """Every unit's, in the order asked for, whether the CPU or the device computes it."""
    frame, names = {"frame": as_frame(small_frame())}, model.graph.names[::-1]
    segment = model.segment(model.graph.names, names)
    expected = TorchExecutor().compile(segment).run(frame)
    compiled = CudaExecutor(FakeCuda()).compile(segment)
    for found in (compiled.run(frame), compiled.execute(frame)):
        assert list(found) == list(names)
        for name in names:
            assert_close(found[name].double(), expected[name].double(), name)


def test_only_the_network_is_on_the_device(model: Model) -> None:
    """With `meta` as the device: pre-processing stays on the CPU, all behind it is on the device."""
    executor = CudaExecutor(FakeCuda(name="meta"))
    compiled = executor.compile(model.segment(model.graph.names[:-1], ["resize", "normalize", "features.0"]))
    outputs = compiled.execute({"frame": as_frame(small_frame())})
    assert [tensor.device.type for tensor in outputs.values()] == ["cpu", "cpu", "meta"]
    assert {weights.device.type for weights in compiled.device.parameters()} == {"meta"}


def test_weights_are_on_the_device_once(model: Model) -> None:
    """Whatever number of segments share them."""
    executor = CudaExecutor(FakeCuda())
    one, other = network(model, executor), executor.compile(model.segment(model.graph.names, ["answer"]))
    weights = dict(one.device.named_parameters())
    assert weights
    for name, tensor in other.device.named_parameters():
        assert tensor.data_ptr() == weights[name].data_ptr()


@pytest.mark.parametrize("way", [CudaSegment.run, CudaSegment.execute, CudaSegment.warm])
def test_a_segment_returns_when_all_is_done(
    model: Model, way: Callable[[CudaSegment, dict[str, torch.Tensor]], object]
) -> None:
    """Nothing that it queued is left: the inputs may be freed, the outputs be read, and times are true."""
    cuda = FakeCuda()
    compiled = network(model, CudaExecutor(cuda))
    assert not cuda.queued, "weights are there before anybody reads them"
    way(compiled, image())
    assert not cuda.queued
    assert not cuda.within


def test_a_segment_that_fails_leaves_nothing_queued(model: Model) -> None:
    """A missing input, a damaged frame, a shape that the network refuses."""
    cuda = FakeCuda()
    executor = CudaExecutor(cuda)
    compiled = executor.compile(model.segment(model.graph.names, ["answer"]))
    with pytest.raises(FrameError, match="not a readable image"):
        compiled.run({"frame": as_frame(b"no image")})
    with pytest.raises(PlanError, match="input 'frame' is missing"):
        compiled.run({})
    with pytest.raises(RuntimeError):
        network(model, executor).run({"normalize": torch.zeros(1, 4, 64, 64)})
    assert not cuda.queued
    assert not cuda.within


def test_frames_are_joined_on_the_device_without_waiting() -> None:
    """Behind the copies, on the stream that the segment will use; one frame is left where it was received."""
    cuda = FakeCuda()
    executor = CudaExecutor(cuda)
    tensors = [torch.randn(1, 3, 4, 4) for _ in range(3)]
    assert torch.equal(executor.join(tensors), torch.cat(tensors))
    assert cuda.queued
    assert executor.join(tensors[:1]) is tensors[0]
    with pytest.raises(RuntimeError):
        executor.join([tensors[0], torch.randn(1, 4, 4, 4)])
    assert not cuda.queued, "the copies read memory that whoever failed frees"


def test_frames_that_wait_are_fetched_from_pinned_memory() -> None:
    """Beside all else, and joining waits for them; what lies elsewhere, or has no room, is copied in its turn."""
    cuda = FakeCuda()
    executor = CudaExecutor(cuda)
    block = cuda.pinned(4 * 48).view(torch.float32).view(4, 1, 3, 2, 2)
    block.copy_(torch.randn(4, 1, 3, 2, 2))
    pinned = [block[number] for number in range(4)]
    fetched = [executor.fetch(tensor) for tensor in pinned[:2]]
    assert not cuda.queued, "nothing of the own stream's"
    assert all(there is not here for there, here in zip(fetched, pinned, strict=False))
    assert not torch.equal(fetched[0], pinned[0]), "on its way"
    cuda.is_full = True
    plain = torch.randn(1, 3, 2, 2)
    assert executor.fetch(plain) is plain
    assert executor.fetch(pinned[2]) is pinned[2]
    assert torch.equal(executor.join([*fetched, pinned[2], plain]), torch.cat([*pinned[:3], plain]))
    cuda.is_full = False
    assert torch.equal(executor.join([executor.fetch(pinned[3])]), pinned[3])
    assert TorchExecutor().fetch(plain) is plain


def test_only_what_the_network_reads_is_fetched(model: Model) -> None:
    """Not the image that is normalised on the CPU first."""
    executor = CudaExecutor(FakeCuda())
    for units, name in ((3, "resize"), (4, "normalize")):
        cut = Cut.of(model.graph, model.graph.names[:units])
        assert cut.crossing == (name,)
        segment = model.segment(cut.cloud_units, (model.graph.sink,))
        batches = BatchSegment(model, executor, segment, 1)
        spec = model.graph[name].output
        assert spec is not None
        here = executor.cuda.pinned(spec.nbytes)
        tensor = tensor_of(here.numpy().data, spec, ())
        assert (batches.fetched({name: tensor})[name] is tensor) == (name == "resize")
        assert batches.fetches == (name != "resize")
        assert not BatchSegment(model, TorchExecutor(), segment, 1).fetches


def test_warm_shapes_run_as_graphs(model: Model, graphs_gain: None) -> None:
    """Each batch size has its own graph once it was warm; others run eagerly; all give what the CPU gives."""
    cuda = FakeCuda()
    compiled = network(model, CudaExecutor(cuda))
    exact = TorchExecutor().compile(compiled.segment)
    for frames in (1, 2):
        compiled.warm(image(frames=frames))
    before = [graph.replays for graph in cuda.graphs]
    for frames, expected in ((1, [1, 0]), (2, [1, 1]), (3, [1, 1])):
        inputs = image(seed=frames, frames=frames)
        (found,), (expected_logits,) = compiled.run(inputs).values(), exact.run(inputs).values()
        assert_close(found, expected_logits, f"{frames} frames")
        assert [graph.replays - b for graph, b in zip(cuda.graphs, before, strict=True)] == expected


def test_outputs_of_a_graph_are_not_overwritten(model: Model, graphs_gain: None) -> None:
    """What is left on the device, too, is the caller's."""
    compiled = network(model, CudaExecutor(FakeCuda()))
    compiled.warm(image())
    (kept,) = compiled.execute(image(1)).values()
    copied = kept.clone()
    (other,) = compiled.execute(image(2)).values()
    assert torch.equal(kept, copied)
    assert not torch.equal(kept, other)


def test_preprocessing_is_in_no_graph(model: Model, graphs_gain: None) -> None:
    """A segment with both parts has its network captured, and decodes each frame anew."""
    cuda = FakeCuda()
    compiled = CudaExecutor(cuda).compile(model.segment(model.graph.names, ["resize", "answer"]))
    frames = [{"frame": as_frame(small_frame(seed=seed))} for seed in (0, 1)]
    compiled.warm(frames[0])
    before = cuda.graphs[0].replays
    exact = TorchExecutor().compile(compiled.segment)
    for frame in frames:
        found, expected = compiled.run(frame), exact.run(frame)
        assert torch.equal(found["resize"], expected["resize"])
        assert_close(found["answer"], expected["answer"], "answer")
    assert cuda.graphs[0].replays == before + 2
    only = CudaExecutor(cuda).compile(model.segment(model.graph.names[:3], ["resize"]))
    only.warm(frames[0])
    assert len(cuda.graphs) == 1


def test_a_batch_segment_learns_graphs_for_its_sizes(
    model: Model, graphs_gain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background, one in each step, also where there is one size; frames then have CPU's answers."""
    monkeypatch.setattr("models.batch.LONGEST_MS", float("inf"))
    cut = Cut.of(model.graph, model.graph.names[:4])
    for most, sizes in ((1, [1]), (4, [1, 2, 4])):
        cuda = FakeCuda()
        segment = model.segment(cut.cloud_units, (model.graph.sink,))
        together = BatchSegment(model, CudaExecutor(cuda), segment, most)
        together.want(most)
        captured = [len(cuda.graphs) for _ in together.learn()]
        assert [graph.outputs[0].shape[0] for graph in cuda.graphs] == sizes
        assert all(after - before <= 1 for before, after in zip([0, *captured], captured, strict=False))
    exact = BatchSegment(model, TorchExecutor(), segment, 1)
    frames = [image(seed) for seed in range(4)]
    for frame, outcome in zip(frames, together.run(frames).outcomes, strict=True):
        (expected,) = exact.run([frame]).outcomes
        found, wanted = (answered(model.graph, one)["answer"] for one in (outcome, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_segment_that_is_dropped_gives_its_graphs_memory_back_at_once(
    model: Model, graphs_gain: None, no_collector: None
) -> None:
    """A plan gives way to another in seconds, and the collector may be long in coming."""
    cuda = FakeCuda()
    executor = CudaExecutor(cuda)
    compiled = network(model, executor)
    compiled.warm(image())
    assert len(executor.room._held) == 1
    cuda.graphs.clear()  # the stand-in's own list of them
    del compiled
    assert len(executor.room._held) == 0


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_an_affair_of_the_device(model: Model, precision: Precision) -> None:
    """Weights and network are half as wide; what comes in and goes out is float32, and near what it should be."""
    executor = CudaExecutor(FakeCuda(), precision=precision)
    assert executor.device_description == f"a GPU, {precision}", "another device, for profiles and for edges"
    middle, last = model.network_units[10], model.network_units[-1]
    segment = model.segment(model.network_units, (middle, last, *model.network_units[-2:-1]))
    compiled = executor.compile(segment)
    assert {weights.dtype for weights in compiled.device.parameters()} == {torch_dtype(precision)}
    exact, found = TorchExecutor().compile(segment).run(image()), compiled.run(image())
    for name, tensor in found.items():
        assert tensor.dtype is torch.float32
        assert 0 < difference(exact[name], tensor) < tolerance_of(precision), name


def test_float32_is_laid_out_as_its_kernels_want_it(model: Model) -> None:
    """Row-major in float32 whatever order it was sent in, channels last in half precision."""
    turned = torch.randn(2, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    assert CudaExecutor(FakeCuda()).laid(turned).is_contiguous()
    halved = CudaExecutor(FakeCuda(), precision="float16").laid(turned.contiguous())
    assert halved.is_contiguous(memory_format=torch.channels_last)
    assert halved.dtype is torch.float16
    assert (
        CudaExecutor(FakeCuda(), precision="float16").laid(torch.ones(3, dtype=torch.uint8)).dtype
        is torch.uint8
    )


def test_receive_buffers_are_pinned_while_there_is_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that pins nothing serves all the same, more slowly, and says so."""
    monkeypatch.setattr(cuda_executor, "POOL_BYTES", 100_000)
    cuda = FakeCuda()
    asked: list[int] = []

    def pinned(nbytes: int) -> torch.Tensor:
        asked.append(nbytes)
        return FakeCuda.pinned(cuda, nbytes)

    monkeypatch.setattr(cuda, "pinned", pinned)
    buffer = CudaExecutor(cuda).receive_buffers()(50_000)
    assert buffer is not None
    assert buffer.nbytes == 50_000
    assert asked == [100_000]

    def refuse(nbytes: int) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(cuda, "pinned", refuse)
    assert CudaExecutor(cuda).receive_buffers() is aligned_buffer
    assert "no pinned memory" in capsys.readouterr().out
    assert TorchExecutor().receive_buffers() is aligned_buffer
