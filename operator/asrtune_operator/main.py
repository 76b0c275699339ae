"""Wires the parts together; decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import uuid
from typing import Final

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from prometheus_client import disable_created_metrics

from asrtune_operator.act.apply import Applier
from asrtune_operator.follow.nodes import Nodes
from asrtune_operator.kube.client import ApiError, ApiUnreachableError, Client
from asrtune_operator.kube.credentials import credentials
from asrtune_operator.kube.lease import Lease, LeaseLostError, LeaseSettings
from asrtune_operator.settings import Settings
from asrtune_operator.state.store import Store
from asrtune_operator.state.workqueue import WorkQueue
from asrtune_operator.telemetry.health import Pulse, serve
from asrtune_operator.telemetry.logs import set_up_logs
from asrtune_operator.telemetry.metrics import Metrics
from asrtune_operator.understand.understanding import Understanding
from asrtune_operator.waiting.evidence import EvidenceSource
from asrtune_operator.waiting.explainer import Explainer
from asrtune_operator.work.follower import Follower, Surface
from asrtune_operator.work.progress import ProgressReader
from asrtune_operator.work.reconcile import Parts, Reconciler
from asrtune_operator.work.workers import Workers

_log = logging.getLogger(__name__)
EXIT_FAILED: Final = 1
EXIT_LEASE_LOST: Final = 3


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    set_up_logs(settings.log_level)
    # They would be a second series beside each of a counter and a histogram, which nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return asyncio.run(_main(settings))


async def _main(settings: Settings) -> int:
    metrics = Metrics()
    connections = 2 * settings.workers + 8
    try:
        async with (
            credentials(settings.kubeconfig, settings.context) as configuration,
            Client(configuration, connections=connections, on_request=metrics.on_request) as client,
        ):
            return await _until_stopped(settings, configuration, client, metrics)
    except (ApiError, ApiUnreachableError, OSError) as error:
        _log.critical("the operator cannot work", extra={"error": str(error)})
    except ConfigException as error:
        remedy = (
            "in a pod it is its ServiceAccount; elsewhere give --kubeconfig FILE"
            if settings.kubeconfig is None
            else "look at the file that --kubeconfig names, and at --context"
        )
        _log.critical("there is no way to a cluster", extra={"error": str(error), "remedy": remedy})
    return EXIT_FAILED


async def _until_stopped(
    settings: Settings, configuration: Configuration, client: Client, metrics: Metrics
) -> int:
    queue = WorkQueue()
    pulse = Pulse(queue, settings.stuck_seconds)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    lease = Lease(client, _lease_settings(settings))
    store = Store()
    metrics.follow(store, queue, pulse.figures())
    surface = Surface(
        configuration=configuration,
        client=client,
        store=store,
        queue=queue,
        understanding=Understanding(client, store, settings.image),
        metrics=metrics,
        pulse=pulse,
        settings=settings,
    )
    async with serve(pulse, metrics.registry, settings.listen, settings.port):
        work = asyncio.create_task(_work(surface, lease))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            work.cancel()
        stopped.cancel()
        try:
            await work
        except asyncio.CancelledError:
            _log.info("stopped")
    return 0


async def _work(surface: Surface, lease: Lease) -> None:
    """Wait for the lease, then work as long as it is held."""
    if surface.settings.lease:
        await lease.acquire()
    surface.pulse.leading = True
    keeping = asyncio.create_task(_keep(lease)) if surface.settings.lease else None
    follower = Follower(surface)
    reconciler = Reconciler(_parts(surface))
    workers = Workers(
        queue=surface.queue,
        store=surface.store,
        reconciler=reconciler,
        metrics=surface.metrics,
        pulse=surface.pulse,
    )
    progress = ProgressReader(surface.store, surface.understanding, reconciler, surface.queue.add)
    try:
        await follower.start()
        _log.info("everything is listed and watched", extra={"runs": sum(1 for _ in surface.store.runs())})
        async with asyncio.TaskGroup() as group:
            group.create_task(follower.run())
            group.create_task(workers.run(surface.settings.workers))
            group.create_task(progress.run(surface.settings.progress_seconds))
    finally:
        surface.pulse.leading = False
        if keeping is not None:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
        await lease.release()
        await follower.stop()


async def _keep(lease: Lease) -> None:
    """Another operator works as soon as the lease is lost: not even what is under way may be finished."""
    try:
        await lease.keep()
    except LeaseLostError as error:
        _log.critical("the lease is lost; the process ends at once", extra={"error": str(error)})
        sys.stderr.flush()
        os._exit(EXIT_LEASE_LOST)


def _parts(surface: Surface) -> Parts:
    return Parts(
        client=surface.client,
        store=surface.store,
        applier=Applier(surface.client, surface.store),
        understanding=surface.understanding,
        nodes=Nodes(surface.client),
        explainer=Explainer(EvidenceSource(surface.client, surface.settings.namespaces)),
        status_seconds=surface.settings.status_seconds,
        wait_seconds=surface.settings.wait_seconds,
    )


def _lease_settings(settings: Settings) -> LeaseSettings:
    return LeaseSettings(
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        holder=settings.lease_holder or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        seconds=settings.lease_seconds,
    )
