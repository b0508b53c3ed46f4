"""Facts that only a GPU can prove: its answers, its graphs, its streams, its copies from pinned memory.

pytest -m gpu
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from common.graph import TensorSpec
from common.plan import Cut
from models import cuda_graphs
from models.batch import BatchSegment
from models.cuda_device import CudaDevice, working
from models.cuda_executor import CudaExecutor, CudaSegment
from models.device import make_executor
from models.executor import TorchExecutor
from models.model import Model
from models.pinned_memory import PinnedPool
from models.precision import Precision, check_precision, tolerance_of
from models.preprocess import as_frame
from models.profiler import profile_model
from models.tensor_memory import tensor_of
from models.zoo import load_model
from tests.gpu import NEEDS_GPU
from tests.models.classifiers import assert_close, small_frame
from tests.models.wired import answered

pytestmark = [*NEEDS_GPU, pytest.mark.timeout(600)]
SIZES = (1, 2, 4, 8, 16, 32)


@pytest.fixture(scope="module", params=["resnet50", "inception_v3"])
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(request.param, "random:0", crop_size=96)


@pytest.fixture
def executor() -> Iterator[CudaExecutor]:
    made = make_executor("cuda")
    assert isinstance(made, CudaExecutor)
    yield made
    torch.cuda.synchronize()


@pytest.fixture
def graphs_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use every graph that computes the same: these tests are about what it computes."""
    monkeypatch.setattr(cuda_graphs, "is_worth", lambda eager_ms, graph_ms: True)


def inputs(model: Model, frames: int, seed: int = 0) -> dict[str, torch.Tensor]:
    side = model.preprocessing.crop_size
    source = torch.Generator().manual_seed(seed)
    return {"normalize": torch.randn(frames, 3, side, side, generator=source)}


def network(model: Model, executor: CudaExecutor) -> CudaSegment:
    return executor.compile(model.segment(model.network_units, model.network_units[-1:]))


def test_every_unit_computes_what_the_cpu_computes(model: Model, executor: CudaExecutor) -> None:
    """Pre-processing on the CPU, the network on the GPU, weights there once, outputs back on the CPU."""
    names, frame = model.graph.names, {"frame": as_frame(small_frame())}
    on_cpu = TorchExecutor().compile(model.segment(names, names)).run(frame)
    on_gpu = executor.compile(model.segment(names, names)).run(frame)
    used = torch.cuda.memory_allocated()
    executor.compile(model.segment(names, ["answer"]))
    assert torch.cuda.memory_allocated() == used
    for name in names[1:-1]:
        assert on_gpu[name].device.type == "cpu"
        assert_close(on_gpu[name].double(), on_cpu[name].double(), name)


@pytest.mark.parametrize("size", SIZES)
def test_batches_compute_what_the_cpu_computes(
    model: Model, executor: CudaExecutor, graphs_gain: None, size: int
) -> None:
    """Before there is a graph and with it, the same to 1e-4 of the largest logit; the graph was really captured."""
    compiled = network(model, executor)
    exact = TorchExecutor().compile(compiled.segment)
    given = inputs(model, size, seed=1)
    (expected,) = exact.run(given).values()
    (eager,) = compiled.run(given).values()
    assert_close(eager, expected, "eager")
    compiled.warm(inputs(model, size))
    assert compiled.graphs.find([given["normalize"].cuda()]) is not None
    for _ in range(3):
        (replayed,) = compiled.run(given).values()
        assert_close(replayed, expected, "graph")


def test_graphs_take_turns(model: Model, executor: CudaExecutor, graphs_gain: None) -> None:
    """Replayed in any order, between eager passes of other shapes, none touches another's memory."""
    compiled = network(model, executor)
    for size in (1, 2, 4):
        compiled.warm(inputs(model, size))
    exact = TorchExecutor().compile(compiled.segment)
    wanted = {size: next(iter(exact.run(inputs(model, size, size)).values())) for size in (1, 2, 3, 4)}
    kept = {}
    for size in (4, 1, 3, 2, 4, 3, 1, 2):
        (kept[size],) = compiled.execute(inputs(model, size, size)).values()
    for size, found in kept.items():
        assert_close(found.cpu(), wanted[size], f"{size} frames")


def test_work_is_on_a_stream_of_its_own(model: Model, executor: CudaExecutor) -> None:
    """A kernel that runs for long on the default stream holds nothing up, and is not waited for."""
    compiled = network(model, executor)
    for _ in range(3):  # whatever is allocated is there then: allocating waits for the device
        compiled.run(inputs(model, 1))
    torch.cuda.synchronize()
    busy = torch.cuda.Event()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(torch.cuda.default_stream()):
        torch.cuda._sleep(4_000_000_000)  # type: ignore[no-untyped-call]  # cycles: seconds
        busy.record()
    compiled.run(inputs(model, 1))
    still_busy = not busy.query()  # type: ignore[no-untyped-call]
    assert still_busy, "it waited for the whole device"
    torch.cuda.synchronize()


def test_two_executors_compute_at_the_same_time(model: Model) -> None:
    """From two threads, each on its own stream: neither's answers are touched by the other's."""
    exact = TorchExecutor().compile(model.segment(model.network_units, model.network_units[-1:]))
    wanted = [next(iter(exact.run(inputs(model, 2, seed)).values())) for seed in range(2)]
    found: list[list[torch.Tensor]] = [[], []]

    def work(seed: int) -> None:
        compiled = network(model, CudaExecutor(CudaDevice("cuda")))
        for _ in range(20):
            found[seed] += compiled.run(inputs(model, 2, seed)).values()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, answers in enumerate(found):
        assert len(answers) == 20
        for answer in answers:
            assert_close(answer, wanted[seed], f"thread {seed}")


def test_measured_times_are_those_of_the_device(model: Model, executor: CudaExecutor) -> None:
    """Around execute() passes at least the time between two events on the stream: it has waited."""
    compiled = network(model, executor)
    given = inputs(model, 16)
    compiled.warm(given)
    before = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    after = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    with working(executor.cuda):
        before.record()
    began = time.perf_counter()
    compiled.execute(given)
    seconds = time.perf_counter() - began
    with working(executor.cuda):
        after.record()
    assert seconds * 1e3 >= 0.5 * before.elapsed_time(after) > 0


def test_pinned_buffers_live_as_long_as_their_copies(model: Model, executor: CudaExecutor) -> None:
    """A pool of two frames, under load: each buffer is overwritten as soon as it is given back, no answer changes."""
    compiled = network(model, executor)
    exact = TorchExecutor().compile(compiled.segment)
    spec = TensorSpec("float32", tuple(inputs(model, 1)["normalize"].shape))
    pool = PinnedPool(executor.cuda.pinned(2 * spec.nbytes + 64))
    given = [inputs(model, 1, seed)["normalize"] for seed in range(4)]
    wanted = [next(iter(exact.run({"normalize": tensor}).values())) for tensor in given]
    for turn in range(100):
        buffer = pool.allocate(spec.nbytes)
        tensor = tensor_of(buffer, spec, ())
        assert tensor.is_pinned()
        tensor.copy_(given[turn % 4])
        (found,) = compiled.run({"normalize": tensor}).values()
        tensor.fill_(float("nan"))
        assert_close(found, wanted[turn % 4], f"turn {turn}")


def test_frames_joined_from_pinned_memory(model: Model, executor: CudaExecutor) -> None:
    """As the cloud does it: four frames in four buffers, one batch."""
    compiled = network(model, executor)
    exact = TorchExecutor().compile(compiled.segment)
    allocate = executor.receive_buffers()
    spec = TensorSpec("float32", tuple(inputs(model, 1)["normalize"].shape))
    buffers = [buffer for _ in range(4) if (buffer := allocate(spec.nbytes)) is not None]
    frames = [tensor_of(buffer, spec, ()) for buffer in buffers]
    for seed, frame in enumerate(frames):
        frame.copy_(inputs(model, 1, seed)["normalize"])
    joined = executor.join(frames)
    assert joined.is_cuda
    (found,) = compiled.run({"normalize": joined}).values()
    (expected,) = exact.run({"normalize": torch.cat(frames)}).values()
    assert_close(found, expected, "joined")


def test_frames_fetched_while_graphs_are_made(
    model: Model, executor: CudaExecutor, graphs_gain: None
) -> None:
    """As the cloud has it: one thread fetches frames as they come, another captures, replays and runs eagerly."""
    compiled = network(model, executor)
    exact = TorchExecutor().compile(compiled.segment)
    spec = TensorSpec("float32", tuple(inputs(model, 1)["normalize"].shape))
    allocate = PinnedPool(executor.cuda.pinned(64 * (spec.nbytes + 64))).allocate
    wanted = [next(iter(exact.run(inputs(model, 1, seed)).values())) for seed in range(4)]
    values = [inputs(model, 1, seed)["normalize"] for seed in range(4)]
    come: queue.Queue[tuple[list[torch.Tensor], list[torch.Tensor]]] = queue.Queue(maxsize=3)
    sizes = [1, 3, 4, 2, 4, 1, 3, 4] * 8

    def receive() -> None:
        for size in sizes:
            here = [tensor_of(allocate(spec.nbytes), spec, ()) for _ in range(size)]
            for seed, tensor in enumerate(here):
                tensor.copy_(values[seed])
            come.put((here, [executor.fetch(tensor) for tensor in here]))

    edge = threading.Thread(target=receive)
    edge.start()
    for turn, size in enumerate(sizes):
        if turn % 16 == 8:
            compiled.warm(inputs(model, 1 + turn // 16))
        here, there = come.get(timeout=60)
        assert all(tensor.is_cuda for tensor in there)
        (found,) = compiled.run({"normalize": executor.join(there)}).values()
        for tensor in here:
            tensor.fill_(float("nan"))
        assert_close(found, torch.cat(wanted[:size]), f"turn {turn}")
    edge.join()
    assert executor.room.why_none() is None, "no capture has failed"
    for size in (1, 2, 3, 4):
        assert compiled.graphs.find([inputs(model, size)["normalize"].cuda()]) is not None


def test_a_batch_segment_learns_and_answers(
    model: Model, executor: CudaExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are verified, sizes measured, graphs made where they gain; answers are the CPU's."""
    monkeypatch.setattr("models.batch.LONGEST_MS", float("inf"))
    cut = Cut.of(model.graph, model.graph.names[:4])
    logits = model.network_units[-1]
    segment = model.segment(cut.cloud_units, (logits, model.graph.sink))
    together = BatchSegment(model, executor, segment, 8)
    together.want(8)
    list(together.learn())
    assert together.times.ms(2) is not None, "batches were not found to be the same"
    exact = TorchExecutor().compile(model.segment(model.network_units, (logits,)))
    frames = [inputs(model, 1, seed) for seed in range(8)]
    for frame, outcome in zip(frames, together.run(frames).outcomes, strict=True):
        assert_close(answered(model.graph, outcome)[logits], exact.run(frame)[logits], "batched")


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_near(model: Model, precision: Precision) -> None:
    """As near as is tolerated between two runs of it."""
    found = check_precision(model, make_executor("cuda", precision=precision), precision)
    assert 0 < found.apart < tolerance_of(precision)


def test_a_profile_can_be_taken(model: Model, executor: CudaExecutor) -> None:
    """Every unit has a time; the codecs are measured on tensors brought back from the device."""
    profile = profile_model(model, executor, small_frame())
    assert set(profile.unit_ms) == set(model.graph.names)
    assert profile.codings
