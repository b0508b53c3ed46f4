"""The cloud daemon put together: the model, the server, and the way down."""

from __future__ import annotations

import asyncio
import socket
import time

import structlog

from cloud_daemon.config import CloudSettings
from cloud_daemon.server import CloudServer
from cloud_daemon.tail import TailPool
from common.signals import stop_event
from models.choose_executor import choose_executor
from models.executor import TorchExecutor
from models.zoo import load_model

log = structlog.get_logger()


async def run(settings: CloudSettings) -> None:
    """Run until SIGINT or SIGTERM. Raises `ConfigurationError` for what only the operator can mend."""
    started = time.perf_counter()
    torch_executor = TorchExecutor(settings.device, settings.threads)
    model = await asyncio.to_thread(load_model, settings.model, settings.weights)
    executor = await asyncio.to_thread(
        choose_executor, settings.executor, model, torch_executor, settings.state_dir
    )
    if settings.weights.startswith("random:"):
        log.warning("RANDOM WEIGHTS: the answers mean nothing", weights=settings.weights)
    stop = stop_event()
    pool = TailPool(model, executor, settings.state_dir)
    try:
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
        async with asyncio.TaskGroup() as tasks:
            server = CloudServer(
                settings.name or socket.gethostname(), settings.listen, pool, settings.iperf_port, tasks
            )
            address = await server.start()
            log.info("listening for edges", address=str(address), iperf_port=settings.iperf_port)
            await stop.wait()
            log.info("stopping", edges=len(server.sessions))
            await server.stop()
    finally:
        pool.stop()
    log.info("stopped")
