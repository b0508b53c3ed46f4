"""Facts about the order of jobs on the compute thread."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from models.compute import FRAMES_COME_S, ComputeThread, Patience


class Held(ComputeThread):
    """A thread that has begun with a job, and waits to be let go; jobs note their names."""

    def __init__(self) -> None:
        super().__init__("test")
        self.order: list[str] = []
        self.gate, begun = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            self.gate.wait(25.0)

        self.submit(hold)
        assert begun.wait(25.0)


@pytest.fixture
def compute() -> Iterator[Held]:
    thread = Held()
    yield thread
    thread.gate.set()
    thread.stop(timeout_s=5.0)


def test_frames_wait_for_one_measurement_and_not_for_all_that_are_due(
    compute: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three have waited longer than their patience when frames come: the next one's begins when it is next."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    jobs = [compute.submit(compute.order.append, f"m{i}", patience=Patience.MEASURE) for i in range(3)]
    assert compute.waiting == 3
    now[0] += Patience.MEASURE + 1.0
    jobs += [compute.submit(compute.order.append, f"f{i}") for i in range(2)]
    compute.gate.set()
    for job in jobs:
        job.result(25.0)
    assert compute.order == ["m0", "f0", "f1", "m1", "m2"]


def measuring_for(now: list[float], seconds: float, name: str, order: list[str]) -> Callable[[], None]:
    """Return a job that takes so long on the clock `now`."""

    def measure() -> None:
        now[0] += seconds
        order.append(name)

    return measure


def test_while_frames_come_most_of_the_time_is_theirs(compute: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that took a second is followed by the next one three seconds after it, not at once."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    first, second = (
        compute.submit(measuring_for(now, 1.0, name, compute.order), patience=Patience.MEASURE)
        for name in ("m0", "m1")
    )
    compute.gate.set()
    first.result(25.0)
    for name, at in (("f0", 101.1), ("f1", 103.9)):
        now[0] = at
        compute.submit(compute.order.append, name).result(25.0)
    now[0] = 104.0
    compute.submit(compute.order.append, "f2")
    second.result(25.0)
    assert compute.order[:3] == ["m0", "f0", "f1"]
    assert set(compute.order[3:]) == {"f2", "m1"}


def test_a_thread_that_waits_wakes_for_a_measurement_whose_time_has_come(compute: Held) -> None:
    """No frame has to come for it, and it may be asked for while the thread waits for jobs."""
    compute.gate.set()
    for _ in range(2):
        compute.submit(time.sleep, 0.01, patience=Patience.MEASURE).result(25.0)


def test_where_no_frames_come_measuring_has_all_the_time(
    compute: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a start, with a profile to be taken. The watchdog's pulse is no frame."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    compute.gate.set()
    compute.submit(compute.order.append, "last frame").result(25.0)
    now[0] += FRAMES_COME_S
    jobs = [
        compute.submit(measuring_for(now, 60.0, f"m{i}", compute.order), patience=Patience.MEASURE)
        for i in range(3)
    ]
    for job in jobs:
        compute.submit(int, patience=Patience.PULSE).result(25.0)
        job.result(25.0)
    assert now[0] == 100.0 + FRAMES_COME_S + 3 * 60.0


def test_a_measurement_that_nobody_waits_for_takes_no_turn(compute: Held) -> None:
    """Those behind it are next; one that asks for its next step meanwhile is behind those that wait."""

    def again() -> None:
        compute.order.append("first")
        jobs.append(compute.submit(compute.order.append, "again", patience=Patience.MEASURE))

    jobs = [compute.submit(again, patience=Patience.MEASURE)]
    given_up = compute.submit(compute.order.append, "given up", patience=Patience.MEASURE)
    last = compute.submit(compute.order.append, "last", patience=Patience.MEASURE)
    assert given_up.cancel()
    compute.gate.set()
    last.result(25.0)
    jobs[-1].result(25.0)
    assert compute.order == ["first", "last", "again"]
    assert compute.submit(int, patience=Patience.MEASURE).result(25.0).result == 0


def test_a_turn_that_fails_is_logged_and_the_next_one_runs(
    compute: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits for a turn's end, so nobody else would tell of a bug in it."""

    def fail() -> None:
        raise RuntimeError("of a turn")

    compute.post(fail)
    compute.post(lambda: compute.order.append("next"))
    last = compute.submit(int)
    compute.gate.set()
    last.result(25.0)
    assert compute.order == ["next"]
    assert "of a turn" in capsys.readouterr().out


def test_turns_and_other_jobs_run_in_the_order_they_were_asked_for(compute: Held) -> None:
    """A turn has the rank of a frame's job: preparing goes before it, measuring after."""
    compute.submit(compute.order.append, "measured", patience=Patience.MEASURE)
    compute.post(lambda: compute.order.append("turn"))
    compute.submit(compute.order.append, "job")
    prepared = compute.submit(compute.order.append, "prepared", patience=Patience.PREPARE)
    compute.gate.set()
    prepared.result(25.0)
    assert compute.submit(int, patience=Patience.MEASURE).result(25.0).result == 0
    assert compute.order == ["prepared", "turn", "job", "measured"]


def test_a_turn_asked_for_after_the_end_never_runs(compute: Held) -> None:
    """A turn asks for the next one while the daemon goes down."""
    compute.gate.set()
    compute.stop(timeout_s=5.0)
    compute.post(lambda: compute.order.append("late"))
    assert compute.waiting == 0


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("patience", [Patience.FRAME, Patience.MEASURE])
def test_an_error_keeps_nothing_of_the_frames_it_came_through(compute: Held, patience: Patience) -> None:
    """Tensors of a run that failed, or was ended, are gone once nobody has its outcome: no circle keeps them."""

    class Tensor:
        pass

    seen: list[weakref.ref[Tensor]] = []

    def fail() -> None:
        tensor = Tensor()
        seen.append(weakref.ref(tensor))
        raise RuntimeError("of a run")

    compute.gate.set()
    failed = compute.submit(fail, patience=patience)
    assert isinstance(failed.exception(25.0), RuntimeError)
    compute.submit(int, patience=patience).result(25.0)  # the thread has let go of the job before it
    assert seen[0]() is not None
    del failed
    assert seen[0]() is None
