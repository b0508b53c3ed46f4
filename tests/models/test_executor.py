"""The torch executor: where it runs, how fast it is allowed to be, what it refuses."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from common.errors import ConfigurationError, FrameError, PlanError, RunCancelledError
from models.cancel_token import CancelToken
from models.executor import CompiledSegment, Executor, Pace, TorchExecutor, TorchSegment, describe_cpu
from models.model import Model
from models.preprocess import as_frame
from models.tensor_memory import dense
from models.zoo import load_model
from tests.models.classifiers import small_frame


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("squeezenet1_1", "random:0", crop_size=64)


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def work(self, seconds: float) -> str:
        self.now += seconds
        return "done"


def test_slowed_work_is_followed_by_a_wait_in_proportion() -> None:
    """Work of t seconds at slowdown 8 is followed by 7 t; at slowdown 1 by nothing."""
    clock = Clock()
    assert Pace(8, clock=clock, wait=clock.wait).run(lambda: clock.work(0.5)) == "done"
    Pace(1, clock=clock, wait=clock.wait).run(lambda: clock.work(0.5))
    assert clock.waits == [3.5]


def test_stop_ends_the_wait() -> None:
    """A wait of hours ends when the executor is stopped, and none follows."""
    executor = TorchExecutor(slowdown=1e9)
    waiting = threading.Thread(target=lambda: executor.pace.run(lambda: time.sleep(0.01)), daemon=True)
    waiting.start()
    executor.stop()
    waiting.join(30)
    assert not waiting.is_alive()
    executor.pace.run(lambda: time.sleep(0.01))


def test_a_cancelled_run_waits_for_nothing() -> None:
    """A wait of hours ends when its run is wanted no more; other work is paced as before."""
    pace, token = Pace(1e9), CancelToken()
    waiting = threading.Thread(target=lambda: pace.run(lambda: time.sleep(0.01), token), daemon=True)
    waiting.start()
    while not pace._waiting:
        time.sleep(0.001)
    token.cancel()
    waiting.join(30)
    assert not waiting.is_alive()
    clock = Clock()
    pace = Pace(8, clock=clock, wait=clock.wait)
    pace.run(lambda: clock.work(0.5), token)
    assert clock.waits == [], "it was cancelled before it had to wait"
    pace.run(lambda: clock.work(0.5), CancelToken())
    assert clock.waits == [3.5]


def test_a_run_ends_between_two_operations_once_it_is_cancelled(model: Model) -> None:
    """What comes after is not computed; the same segment runs to its end the next time, with a token or without."""
    compiled = TorchExecutor().compile(model.segment(model.graph.names, [model.graph.sink]))
    assert isinstance(compiled, TorchSegment)
    inputs = {"frame": as_frame(small_frame())}
    whole = compiled.run(inputs)
    token, ran = CancelToken(), list[torch.nn.Module]()
    convolutions = [layer for layer in compiled.module.modules() if isinstance(layer, torch.nn.Conv2d)]

    def after(layer: torch.nn.Module, *_: object) -> None:
        ran.append(layer)
        if len(ran) == 2:
            token.cancel()

    hooks = [layer.register_forward_hook(after) for layer in convolutions]
    try:
        with pytest.raises(RunCancelledError):
            compiled.run(inputs, token)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == convolutions[:2]
    assert torch.equal(compiled.run(inputs, CancelToken())[model.graph.sink], whole[model.graph.sink])


def test_running_is_paced_and_measuring_is_not(model: Model) -> None:
    """run() waits in proportion to its work; execute() and warm() do not."""
    executor = TorchExecutor(slowdown=5)
    clock = Clock()
    executor.pace = Pace(5, clock=clock, wait=clock.wait)
    compiled = executor.compile(model.segment(["decode"], ["decode"]))
    inputs = {"frame": as_frame(small_frame())}
    compiled.execute(inputs)
    compiled.warm(inputs)
    assert clock.waits == []
    compiled.run(inputs)
    assert len(clock.waits) == 1


def test_outputs_are_cpu_tensors_that_can_be_sent_as_they_lie(model: Model) -> None:
    """What a segment returns has no gaps in memory and no gradients; channels last stays channels last."""
    compiled = TorchExecutor().compile(model.segment(model.graph.names[:8], ["features.0", "features.2"]))
    outputs = compiled.run({"frame": as_frame(small_frame())})
    inside = compiled.execute({"frame": as_frame(small_frame())})
    assert outputs["features.0"].is_contiguous(memory_format=torch.channels_last)
    for name, tensor in outputs.items():
        assert dense(tensor)[0] is tensor
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
        assert torch.equal(tensor, inside[name])


def test_a_missing_input_is_named(model: Model) -> None:
    """A stage that is handed too little says what it misses."""
    compiled = TorchExecutor().compile(model.segment(["cat"], ["cat"]))
    with pytest.raises(PlanError, match=r"input 'features.3.expand1x1' is missing"):
        compiled.run({})


def test_a_bad_frame_is_the_frames_fault(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file raises FrameError from within a segment, and torch.fx prints nothing about it."""
    compiled = TorchExecutor().compile(model.segment(model.graph.names, ["answer"]))
    with pytest.raises(FrameError, match="not a readable image"):
        compiled.run({"frame": as_frame(b"no image")})
    assert capsys.readouterr() == ("", "")


def test_it_is_an_executor(model: Model) -> None:
    """TorchExecutor fills the interface, and describes the device it runs on."""
    executor: Executor = TorchExecutor(threads=1)
    compiled: CompiledSegment = executor.compile(model.segment(["frame"], ["frame"]))
    assert compiled.segment.outputs == ("frame",)
    assert (executor.name, executor.device, executor.threads, executor.slowdown) == ("torch", "cpu", 1, 1.0)
    assert executor.device_description == describe_cpu() != ""


def test_threads_hold_on_other_threads() -> None:
    """The number of threads is set for the whole process, not for the thread that made the executor."""
    before = torch.get_num_threads()
    seen: list[int] = []
    try:
        TorchExecutor(threads=1)
        worker = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        worker.start()
        worker.join()
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"threads": -1}, "threads is -1"),
        ({"slowdown": 0.5}, "slowdown is 0.5; expected a number ≥ 1"),
        ({"slowdown": float("nan")}, "slowdown is nan"),
        ({"slowdown": float("inf")}, "slowdown is inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, float], reason: str) -> None:
    """A wrong thread count or slowdown is the operator's to mend."""
    with pytest.raises(ConfigurationError, match=reason):
        TorchExecutor(**arguments)  # type: ignore[arg-type]
