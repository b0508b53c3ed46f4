"""The onnxruntime executor: the same answers as torch at any cut, alone and with torch on the other side."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from common.errors import FrameError, ModelError, PlanError, RunCancelledError
from common.partition.closed_sets import enumerate_closed_sets
from common.plan import Cut
from models.cancel_token import CancelToken
from models.executor import CompiledSegment, Executor, Pace, TorchExecutor
from models.model import Model
from models.onnx_executor import OnnxExecutor
from models.onnx_export import load_or_export
from models.onnx_network import OnnxNetwork, OnnxPiece
from models.preprocess import as_frame
from models.verification import deviations
from models.zoo import load_model
from tests.models.classifiers import small_frame

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module", params=["squeezenet1_1", "resnet18"])
def model(request: pytest.FixtureRequest) -> Model:
    """One with branches, and one whose units are called as the exporter calls its own values (`add_1`)."""
    return load_model(request.param, "random:0", crop_size=64)


@pytest.fixture(scope="module")
def onnx(model: Model, tmp_path_factory: pytest.TempPathFactory) -> OnnxExecutor:
    return OnnxExecutor(model, TorchExecutor(), load_or_export(model, tmp_path_factory.mktemp("onnx")))


def test_split_equals_whole_at_every_cut(model: Model, onnx: OnnxExecutor) -> None:
    """Head and tail by onnxruntime give what the whole gives, at every legal cut."""
    executor: Executor = onnx
    found = list(deviations(model, executor, enumerate_closed_sets(model.graph), small_frame()))
    assert len(found) > 20
    assert max(deviation.relative for deviation in found) <= 1e-4


def test_the_other_side_may_run_torch(model: Model, onnx: OnnxExecutor) -> None:
    """A head by torch, channels last in memory, is continued by onnxruntime, and the other way round."""
    graph, frame = model.graph, {"frame": as_frame(small_frame())}
    sets = enumerate_closed_sets(graph)
    torch_executor = TorchExecutor()

    def run(
        executor: Executor, units: tuple[str, ...], outputs: tuple[str, ...], given: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        compiled: CompiledSegment = executor.compile(model.segment(units, outputs))
        return compiled.run({name: given[name] for name in compiled.segment.inputs})

    whole = run(torch_executor, graph.names, (graph.sink,), frame)[graph.sink]
    cuts = [sets.cut(row) for row in range(0, len(sets), 5)]
    for cut in [cut for cut in cuts if cut.cloud_units and len(cut.edge_units) > 1]:
        for head, tail in ((torch_executor, onnx), (onnx, torch_executor)):
            crossing = run(head, cut.edge_units, cut.crossing, frame)
            answer = run(tail, cut.cloud_units, (graph.sink,), crossing)[graph.sink]
            torch.testing.assert_close(answer, whole, rtol=1e-4, atol=1e-6)


def test_a_split_may_be_cut_between_its_parts(tmp_path: Path) -> None:
    """ShuffleNet splits channels: one half crosses the cut, the other is made anew behind it."""
    model = load_model("shufflenet_v2_x1_0", "random:0", crop_size=64)
    executor = OnnxExecutor(model, TorchExecutor(), load_or_export(model, tmp_path))
    found = list(deviations(model, executor, enumerate_closed_sets(model.graph), small_frame()))
    assert max(deviation.relative for deviation in found) <= 1e-4


def test_a_segment_without_the_network_is_torchs(model: Model, onnx: OnnxExecutor) -> None:
    """Pre-processing alone, and the answer alone, need no ONNX and are bit for bit torch's."""
    frame = {"frame": as_frame(small_frame())}
    segment = model.segment(["frame", "decode", "resize"], ["resize"])
    (mine,) = onnx.compile(segment).run(frame).values()
    (theirs,) = TorchExecutor().compile(segment).run(frame).values()
    assert torch.equal(mine, theirs)
    sink = model.graph.sink
    (logits,) = model.graph[sink].inputs
    last = model.segment([sink], [sink])
    tensors = {logits: torch.randn(1, 1000)}
    assert torch.equal(
        onnx.compile(last).run(tensors)[sink], TorchExecutor().compile(last).run(tensors)[sink]
    )


def test_running_is_paced_and_measuring_is_not(model: Model) -> None:
    """run() waits in proportion to its work, as torch's does; execute() and warm() do not."""
    torch_executor = TorchExecutor(slowdown=5)
    waits: list[float] = []
    torch_executor.pace = Pace(5, wait=waits.append)
    executor = OnnxExecutor(model, torch_executor, load_or_export(model, Path("/nowhere")))
    compiled = executor.compile(model.segment(model.graph.names[1:4], ["normalize"]))
    inputs = {"frame": as_frame(small_frame())}
    compiled.execute(inputs)
    compiled.warm(inputs)
    assert waits == []
    compiled.run(inputs)
    assert len(waits) == 1
    assert (executor.slowdown, executor.name) == (5, "onnxruntime")


def test_what_onnxruntime_refuses_runs_on_torch(
    model: Model, onnx: OnnxExecutor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cut that cannot be made into a session is run all the same, and said; asked to be strict, it is an error."""
    monkeypatch.setattr(OnnxNetwork, "extract", lambda *_: OnnxPiece(b"no document", {}))
    frame = {"frame": as_frame(small_frame())}
    segment = model.segment(model.graph.names, (model.graph.sink,))
    mine = onnx.compile(segment).run(frame)[model.graph.sink]
    assert torch.equal(mine, TorchExecutor().compile(segment).run(frame)[model.graph.sink])
    assert "a cut runs on torch instead" in capsys.readouterr().out
    with pytest.raises(ModelError, match="onnxruntime does not take this network"):
        onnx.compile(segment, may_use_torch=False)


def test_a_cancelled_run_is_ended(model: Model, onnx: OnnxExecutor) -> None:
    """onnxruntime ends it, and that is no failure of the network; with a token that is not used all is as without."""
    units = model.network_units
    compiled = onnx.compile(model.segment(units, units[-1:]))
    (entry,) = compiled.segment.inputs
    inputs = {entry: torch.ones(1, 3, 64, 64)}
    assert torch.equal(compiled.run(inputs, CancelToken())[units[-1]], compiled.run(inputs)[units[-1]])
    (part,) = compiled._parts
    with pytest.raises(RuntimeError, match="onnxruntime: "):
        part.execute({entry: torch.zeros(1, 3, 7, 7, 7)}, CancelToken())

    token, ended, ran = CancelToken(), list[BaseException](), threading.Event()

    def run_on() -> None:
        try:
            while True:
                part.execute(inputs, token)
                ran.set()
        except RunCancelledError as error:
            ended.append(error)

    running = threading.Thread(target=run_on, daemon=True)
    running.start()
    assert ran.wait(30)
    token.cancel()
    running.join(30)
    assert len(ended) == 1
    assert units[-1] in compiled.run(inputs), "the session is as good as before"


def test_a_run_that_fails_is_the_frames_misfortune_only(model: Model, onnx: OnnxExecutor) -> None:
    """onnxruntime's own exceptions are RuntimeErrors here, as torch's are: callers fail the frame and go on."""
    compiled = onnx.compile(model.segment(model.graph.names[4:], (model.graph.sink,)))
    with pytest.raises(RuntimeError, match="onnxruntime: "):
        compiled.run({"normalize": torch.zeros(1, 3, 7, 7, 7)})


def test_errors_are_as_torchs(model: Model, onnx: OnnxExecutor) -> None:
    """A missing input is the plan's fault, a damaged frame the frame's."""
    cut = Cut.of(model.graph, model.graph.names[:6])
    with pytest.raises(PlanError, match="is missing"):
        onnx.compile(model.segment(cut.cloud_units, (model.graph.sink,))).run({})
    with pytest.raises(FrameError, match="not a readable image"):
        onnx.compile(model.segment(model.graph.names, (model.graph.sink,))).run(
            {"frame": as_frame(b"no image")}
        )
