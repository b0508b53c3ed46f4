"""The cloud daemon put together: the models, the server, and the way down."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence

import structlog

from cloud_daemon.access import Access
from cloud_daemon.config import CloudSettings
from cloud_daemon.frame_runner import FrameRunner
from cloud_daemon.liveness import frames_seen, status_line
from cloud_daemon.server import CloudServer
from cloud_daemon.tail import TailPool
from cloud_daemon.view import CloudView
from common.errors import ConfigurationError
from common.heap import keep_heap_tidy, settle_heap
from common.limits import MIB
from common.signals import on_hangup, stop_event
from common.status_file import StatusFile
from common.systemd_notify import SystemdNotifier, of_this_process
from common.web.server import serving
from common.web.view import View
from common.wire.receive_ledger import ReceiveLedger
from models.choose_executor import choose_executor
from models.compute import ComputeThread
from models.device import make_executor
from models.executor import TorchExecutor
from models.model import Model
from models.precision import check_precision
from models.supervised import ComputePulse, keep_informed
from models.watchdog import watch
from models.zoo import load_model

log = structlog.get_logger()

STATUS_S = 5.0


async def run(settings: CloudSettings) -> None:
    """Run until SIGINT or SIGTERM. Raises `ConfigurationError` for what only the operator can mend."""
    access = Access.of(settings)  # before the model: what is wrong with it should not take seconds to be told
    async with serving("cloud", settings.http, settings.http_token, "CLEAVE_CLOUD_HTTP") as show:
        await _run(settings, access, show)


async def _run(settings: CloudSettings, access: Access, show: Callable[[View], None]) -> None:
    status = StatusFile(settings.state_dir, "CLEAVE_CLOUD_STATE_DIR")
    torch_executor = make_executor(settings.device, settings.threads, precision=settings.precision)
    models = await asyncio.to_thread(load_models, settings)
    systemd = of_this_process()
    frames = FrameRunner(
        ComputeThread("tail"), batch_max=settings.batch_max, batch_wait_s=settings.batch_wait_ms / 1e3
    )
    pools: list[TailPool] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(watch(frames.compute, settings.hung_after_s))]
            for model in models:
                pool = await serve(model, models, settings, torch_executor, frames)
                pools.append(pool)
                background += [
                    tasks.create_task(watch(thread, settings.hung_after_s)) for thread in pool.beside.all
                ]
            # Until here a signal ends the process at once (`leave_at_once_on_signals`): exporting and measuring take
            # up to minutes, on threads that are waited for, and systemd waits 10 s. Nothing is lost by it.
            stop = stop_event()
            ledger = ReceiveLedger(settings.receive_mb * MIB, torch_executor.receive_buffers())
            server = CloudServer(
                settings.name or socket.gethostname(),
                settings.listen,
                pools,
                frames,
                settings.iperf_port,
                tasks,
                access,
                ledger,
            )
            view = CloudView(settings, server, torch_executor, ledger)
            settle_heap()
            background.append(tasks.create_task(keep_heap_tidy()))
            view.address = address = await server.start()
            show(view)
            background.append(tasks.create_task(keep_status(view, status)))

            def reload() -> None:
                systemd.reloading()
                server.reload()
                systemd.ready()

            on_hangup(reload)
            announce = log.info if access.identity else log.warning
            announce(
                "listening for edges",
                address=str(address),
                iperf_port=settings.iperf_port,
                channel=access.description,
            )
            if access.identity is not None:
                background.append(tasks.create_task(access.identity.watch()))
            background.append(tasks.create_task(keep_systemd_informed(systemd, settings, server, frames)))
            systemd.ready()  # every model has run once, and edges can connect
            await stop.wait()
            systemd.stopping()
            log.info("stopping", edges=len(server.sessions))
            view.address = None
            await server.stop()
            for task in background:
                task.cancel()
    finally:
        torch_executor.stop()
        frames.compute.stop(timeout_s=1.0)
        for pool in pools:
            pool.beside.stop(timeout_s=0.0)
    log.info("stopped")


async def keep_status(view: CloudView, file: StatusFile, interval_s: float = STATUS_S) -> None:
    """Write the status now and again, until cancelled."""
    while True:
        view.note_point()
        await view.refresh()
        await asyncio.to_thread(file.write, view.status())
        await asyncio.sleep(interval_s)


async def keep_systemd_informed(
    systemd: SystemdNotifier, settings: CloudSettings, server: CloudServer, frames: FrameRunner
) -> None:
    """Tell systemd how the daemon fares, until cancelled."""
    pulse = ComputePulse(frames.compute, settings.hung_after_s)
    names = [name for name, _ in settings.served]
    await keep_informed(
        systemd,
        lambda: (pulse.seen(), frames_seen(frames.held, frames.ended, settings.hung_after_s)),
        lambda: status_line(names, len(server.sessions), frames.ended),
    )


def load_models(settings: CloudSettings) -> list[Model]:
    """Load every model that is served. Raises one `ConfigurationError` with a line for each that cannot be."""
    models: list[Model] = []
    problems: list[str] = []
    for name, weights in settings.served:
        try:
            models.append(load_model(name, weights))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return models


async def serve(
    model: Model,
    models: Sequence[Model],
    settings: CloudSettings,
    torch_executor: TorchExecutor,
    frames: FrameRunner,
) -> TailPool:
    """Choose the executor of one of the `models` that are served, and run one whole inference."""
    started = time.perf_counter()
    executor = await asyncio.to_thread(
        choose_executor, settings.executor, model, torch_executor, settings.state_dir, models
    )
    if settings.precision != "float32":
        await frames.compute.run(check_precision, model, executor, settings.precision)
    if model.weights.startswith("random:"):
        log.warning("RANDOM WEIGHTS: the answers mean nothing", model=model.name, weights=model.weights)
    pool = TailPool(model, executor, settings.state_dir, frames)
    await pool.warm()
    log.info(
        "model ready",
        model=model.name,
        weights=model.weights,
        units=len(model.graph),
        device=executor.device_description,
        executor=executor.name,
        seconds=round(time.perf_counter() - started, 1),
    )
    return pool
