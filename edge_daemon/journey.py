"""What is noted of one frame on its way through the pipeline, and the record it ends in."""

from __future__ import annotations

import torch

from edge_daemon.active_plan import ActivePlan
from edge_daemon.frame import Frame
from edge_daemon.results import Durations, FrameRecord, top5_of
from models.model import Model
from models.preprocess import top_classes


class Journey:
    """A frame on its way, under the plan it started with. `now` is on `time.perf_counter`'s clock, in seconds."""

    def __init__(self, model: Model, active: ActivePlan, frame: Frame, now: float) -> None:
        self.active = active
        self.frame = frame
        self.bytes_up = 0
        self.encode_ms: float | None = None
        self.link_ms: float | None = None
        self.cloud_queue_ms: float | None = None
        self.tail_ms: float | None = None
        self.fallback: str | None = None
        self.head_ms: float | None = None
        self._model = model
        self._began = now

    def head_done(self, head_ms: float, run_ms: float, now: float) -> None:
        """Take note of the head, after `run_ms` of it and of what else ran with it.

        The frame's time begins with it: waiting for the processor is queueing.
        """
        self.head_ms = head_ms
        self._began = now - run_ms / 1e3

    def finished_locally(self, run_ms: float) -> None:
        self.head_ms = (self.head_ms or 0.0) + run_ms

    def answered(self, answer: torch.Tensor, ran: str, now: float) -> FrameRecord:
        return self._record(ran, now, answer=answer)

    def failed(self, error: str) -> FrameRecord:
        return self._record("nowhere", self._began, error=error)

    def _record(
        self, ran: str, now: float, answer: torch.Tensor | None = None, error: str | None = None
    ) -> FrameRecord:
        plan = self.active.plan
        return FrameRecord(
            frame=self.frame,
            top5=top5_of(top_classes(answer[0], self._model.labels)) if answer is not None else (),
            epoch=plan.epoch,
            cut=plan.cut.label,
            mode=str(plan.mode),
            sustainable_fps=plan.sustainable_fps,
            ran=ran,
            fallback=self.fallback,
            bytes_up=self.bytes_up,
            durations=Durations(
                queue_ms=(self._began - self.frame.seen_at) * 1e3,
                head_ms=self.head_ms,
                encode_ms=self.encode_ms,
                link_ms=self.link_ms,
                cloud_queue_ms=self.cloud_queue_ms,
                tail_ms=self.tail_ms,
                total_ms=(now - self._began) * 1e3,
            ),
            error=error,
            weights=self._model.weights,
        )
