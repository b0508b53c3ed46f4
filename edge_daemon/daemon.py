"""The edge daemon put together: source, pipeline, uplink, controller, and the way down."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import structlog

from common import limits
from common.heap import keep_heap_tidy, settle_heap
from common.profile import ProfileStore
from common.signals import on_hangup, stop_event
from common.status_file import StatusFile
from common.systemd_notify import of_this_process
from common.web.server import serving
from common.web.view import View
from common.wire.messages import PROTOCOL, Hello
from edge_daemon.certifier import Certifier
from edge_daemon.cloud_load import CloudLoad
from edge_daemon.config import EdgeSettings
from edge_daemon.controller import Controller
from edge_daemon.fidelity import Fidelity, allowed_losses
from edge_daemon.fixed_plan import FixedPlan
from edge_daemon.frame_counts import FrameLedger
from edge_daemon.identity import identity_of, own_name
from edge_daemon.length_check import LengthCheck
from edge_daemon.line import UplinkEvents
from edge_daemon.link_estimate import LinkEstimate
from edge_daemon.liveness import frames_seen, source_seen, status_line
from edge_daemon.observers import Observers
from edge_daemon.pipeline import FramePipeline
from edge_daemon.prober import Prober
from edge_daemon.profiling import Profiling
from edge_daemon.rate_adapter import RateAdapter
from edge_daemon.refused_stages import RefusedStages
from edge_daemon.results import FrameRecord
from edge_daemon.results_file import open_results
from edge_daemon.results_rotation import Rotation
from edge_daemon.results_writer import ResultsWriter
from edge_daemon.segment_measurer import SegmentMeasurer
from edge_daemon.sinks.sinks import Sinks, check_sinks
from edge_daemon.sources import check_source, delivery_of, open_source
from edge_daemon.spot_check import SpotCheck
from edge_daemon.standby import Standby
from edge_daemon.uplink import Uplink
from edge_daemon.view import EdgeView
from models.choose_executor import choose_executor
from models.compute import ComputeThread
from models.device import make_executor
from models.executor import Executor
from models.model import Model
from models.profiler import sample_frame
from models.stage_threads import StageThreads
from models.stages import Stages
from models.supervised import ComputePulse, keep_informed
from models.watchdog import watch
from models.zoo import load_model

log = structlog.get_logger()

DRAIN_S = 1.0
"""On shutdown, frames in flight have this long to be answered; the rest are done on the next start."""


class EdgeDaemon:
    """One edge: built by `run`, with every task in one group."""

    def __init__(
        self,
        settings: EdgeSettings,
        model: Model,
        executor: Executor,
        show: Callable[[View], None] = lambda view: None,
    ) -> None:
        """`show` is given what there is to see, once there is."""
        self._settings = settings
        self._show = show
        self._model = model
        self._executor = executor
        self._identity = identity_of(settings)
        self.stop = stop_event()
        latest_only = delivery_of(settings) == "latest"
        self._ledger = FrameLedger()
        target = open_results(
            settings.results, Rotation.of(settings.results_rotate_mb, settings.results_keep)
        )
        self._sinks = Sinks(settings, own_name(settings, self._identity), model.name, target)
        self._results = ResultsWriter(
            target,
            self._ledger,
            drop=latest_only,
            committed=self._sinks.committed,
            reader_gone=self.stop.set,
        )
        self._source, self._queue = open_source(settings, self._ledger, target.found, self._write_status)
        self._rate = RateAdapter(self._source, settings.sampling_fps, adapts=settings.adapt_rate)
        self._compute = ComputeThread("head")
        self._beside = StageThreads.of_executor(executor)
        self._estimate = LinkEstimate()
        self._load = CloudLoad(settings.sampling_fps or None)
        self._uplink = Uplink(settings.cloud, self._hello(), self._events(), self._identity)
        self._fixed = None if settings.plan == "auto" else FixedPlan(settings.plan, model.graph)
        stages = Stages(model, executor, sample_frame(), beside=self._beside)
        self._fidelity = Fidelity(allowed_losses(settings.lossy), settings.min_agreement)
        self._certifier = Certifier(
            self._fidelity, stages, self._compute, lambda: self._controller.look_again()
        )
        self._segments = SegmentMeasurer(
            stages,
            self._compute,
            self._uplink,
            lambda cut, head, tail: self._controller.saw_segments(cut, head, tail),
            lambda ms: self._controller.saw_whole(ms),
            lambda ms: self._controller.saw_cloud_whole(ms),
        )
        self._lengths = LengthCheck(
            stages,
            self._compute,
            lambda unit, codec, nbytes: self._controller.set_lengths(unit, codec, nbytes),
            lambda: self._controller.look_again(),
        )
        epochs = itertools.count(1)
        refused = RefusedStages()
        self._standby = Standby(model.graph, stages, self._compute, self._uplink, epochs, refused)
        self._controller = Controller(
            fixed=self._fixed,
            model=model,
            stages=stages,
            compute=self._compute,
            uplink=self._uplink,
            estimate=self._estimate,
            load=self._load,
            prober=Prober(self._uplink, self._estimate, settings.cloud, settings.replan_interval_s),
            certifier=self._certifier,
            segments=self._segments,
            lengths=self._lengths,
            standby=self._standby,
            epochs=epochs,
            refused=refused,
            rate_fps=settings.sampling_fps or None,
            interval_s=settings.replan_interval_s,
            changed=self._looked,
        )
        self._pipeline = FramePipeline(
            model=model,
            queue=self._queue,
            ledger=self._ledger,
            compute=self._compute,
            controller=self._controller,
            certifier=self._certifier,
            stages=stages,
            uplink=self._uplink,
            record=self._record,
        )
        self._profiling = Profiling(
            model=model,
            executor=executor,
            compute=self._compute,
            uplink=self._uplink,
            store=ProfileStore(settings.state_dir),
            first_data=self._source.first_data,
            found=self._controller.set_profiles,
            spot_check=SpotCheck(
                stages,
                executor.slowdown,
                self._compute,
                lambda: self._controller.edge_unseen,
                self._controller.saw_sample,
            ),
        )
        self._status = StatusFile(settings.state_dir, "CLEAVE_EDGE_STATE_DIR")
        self._status_fails = False
        self.view = EdgeView(
            settings=settings,
            identity=self._identity,
            model=model,
            executor=executor,
            compute=self._compute,
            uplink=self._uplink,
            estimate=self._estimate,
            load=self._load,
            controller=self._controller,
            fidelity=self._fidelity,
            ledger=self._ledger,
            pipeline=self._pipeline,
            results=self._results,
            source=self._source,
            rate=self._rate,
            sinks=self._sinks,
        )
        self.observers = Observers(self.view.saw, self._sinks.saw)
        self._systemd = of_this_process()

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM, or until the directory is drained if that ends the run."""
        try:
            async with asyncio.TaskGroup() as tasks:
                hung_after_s = self._settings.hung_after_s
                threads = (self._compute, *self._beside.all)
                background = [tasks.create_task(watch(thread, hung_after_s)) for thread in threads]
                background.append(tasks.create_task(keep_heap_tidy()))
                background.append(tasks.create_task(self._sinks.run()))
                await self._controller.start()
                self._show(self.view)
                background.append(tasks.create_task(self._controller.run()))
                if self._fixed is None or self._fixed.may_use_cloud:
                    background.append(tasks.create_task(self._uplink.run()))
                on_hangup(self._reload)
                if self._identity is not None:
                    background.append(tasks.create_task(self._identity.watch()))
                if self._fixed is None:
                    background.append(tasks.create_task(self._profiling.run()))
                    background.append(tasks.create_task(self._certifier.run()))
                    background.append(tasks.create_task(self._segments.run()))
                    background.append(tasks.create_task(self._lengths.run()))
                    background.append(tasks.create_task(self._standby.run()))
                frames = tasks.create_task(self._frames())
                background.append(tasks.create_task(self._keep_systemd_informed()))
                self._systemd.ready()  # the edge alone can answer: its plan is prepared, and has run once
                await frames
                await self._sinks.drain(DRAIN_S)
                for task in background:
                    task.cancel()
        finally:
            await self._results.stop(timeout_s=0.3)  # first: what is safe by now is answered, and not left
            self._ledger.close()
            self._write_status()
            self._executor.stop()
            self._compute.stop(timeout_s=0.3)
            self._beside.stop(timeout_s=0.0)
            self._sinks.stop(timeout_s=0.3)
        log.info("stopped", **{name: n for name, n in self._ledger.counts.as_document().items() if n})

    async def _frames(self) -> None:
        """Run source and pipeline to their end; on a signal, give frames in flight a moment."""
        source = asyncio.create_task(self._source.run(self.stop))
        pipeline = asyncio.create_task(self._answer_and_record())
        stopped = asyncio.create_task(self.stop.wait())
        try:
            waiting = {source, pipeline, stopped}
            while pipeline in waiting and stopped in waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # a source that failed feeds the pipeline no longer
            if self.stop.is_set():
                self._systemd.stopping()
                log.info("stopping", in_flight=self._ledger.counts.in_flight)
                await asyncio.wait([pipeline], timeout=DRAIN_S)
        finally:
            for task in (source, pipeline, stopped):
                task.cancel()
            results = await asyncio.gather(source, pipeline, stopped, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _answer_and_record(self) -> None:
        await self._pipeline.run(self._settings.in_flight, self.stop)
        await self._results.flush()

    def _reload(self) -> None:
        self._systemd.reloading()
        if self._identity is not None:
            self._identity.reload()
        self._systemd.ready()

    async def _keep_systemd_informed(self) -> None:
        most_s = self._settings.hung_after_s
        pulse = ComputePulse(self._compute, most_s)
        await keep_informed(
            self._systemd,
            lambda: (
                pulse.seen(),
                frames_seen(self._ledger.counts, self._results.trouble, most_s),
                source_seen(self._source.looks, self._queue.full(), self._settings.sampling_fps, most_s),
            ),
            lambda: status_line(
                self._controller.active.plan.cut.label,
                self._uplink.available,
                self._estimate.bandwidth_bps,
                self._ledger.counts,
            ),
        )

    # --- wiring -----------------------------------------------------------------------------------------
    def _hello(self) -> Hello:
        fingerprint = self._model.fingerprint
        return Hello(
            protocol=PROTOCOL,
            edge=own_name(self._settings, self._identity)[: limits.MAX_NAME_CHARS],
            model=f"{self._model.name} with weights {self._model.weights}"[: limits.MAX_NAME_CHARS],
            architecture=fingerprint.architecture,
            weights=fingerprint.weights,
            graph=fingerprint.graph,
        )

    def _events(self) -> UplinkEvents:
        return UplinkEvents(
            up=lambda: self._controller.link_up(),
            down=lambda reason: self._controller.link_down(reason),
            measured=lambda sample: self._controller.saw_bandwidth(sample),
            round_trip=self._estimate.add_round_trip,
            waited=self._load.add,
        )

    def _looked(self) -> None:
        """Take note that the controller has looked at link and load, or has switched."""
        self._rate.look(self._controller.active.plan, time.monotonic())
        self.view.note_plan()
        self._write_status()

    def _write_status(self) -> None:
        """Have others see how the edge is. A bug in that is said once, and costs the status, never a frame."""
        if not self._controller.started:
            return
        try:
            status = self.view.status()
            self._sinks.tell(status)
            self._status.write(status)
            self._status_fails = False
        except Exception:
            if not self._status_fails:
                log.exception("no status: a bug; frames go on")
            self._status_fails = True

    async def _record(self, record: FrameRecord) -> None:
        self.observers.tell(record)
        await self._results.put(record)


async def run(settings: EdgeSettings) -> None:
    """Run the edge daemon. Raises `ConfigurationError` for what only the operator can mend."""
    identity_of(settings)
    check_sinks(settings)
    check_source(settings)  # before the model: a mistyped path should not take seconds to be told
    async with serving("edge", settings.http, settings.http_token, "CLEAVE_EDGE_HTTP") as show:
        await _run(settings, show)


async def _run(settings: EdgeSettings, show: Callable[[View], None]) -> None:
    started = time.perf_counter()
    torch_executor = make_executor(settings.device, settings.threads, settings.slowdown)
    model = await asyncio.to_thread(load_model, settings.model, settings.weights)
    executor = await asyncio.to_thread(
        choose_executor, settings.executor, model, torch_executor, settings.state_dir
    )
    if settings.weights.startswith("random:"):
        log.warning("RANDOM WEIGHTS: the answers mean nothing", weights=settings.weights)
    daemon = EdgeDaemon(settings, model, executor, show)
    log.info(
        "model ready",
        model=model.name,
        weights=model.weights,
        units=len(model.graph),
        device=executor.device_description,
        executor=executor.name,
        slowdown=settings.slowdown if settings.slowdown > 1 else None,
        seconds=round(time.perf_counter() - started, 1),
    )
    settle_heap()
    await daemon.run()
