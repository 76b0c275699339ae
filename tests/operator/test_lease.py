"""Leader election on a real API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from kubernetes.aio.client import Configuration

from asrtune_operator.kube.client import Client
from asrtune_operator.kube.credentials import credentials
from asrtune_operator.kube.lease import Lease, LeaseLostError, LeaseSettings
from cluster.cluster import Cluster
from tools.ports import free_port

SECONDS = 1.5


@asynccontextmanager
async def leases(cluster: Cluster, namespace: str) -> AsyncIterator[tuple[Lease, Lease]]:
    """Two replicas' leases."""
    async with credentials(cluster.kubeconfig, None) as configuration, Client(configuration) as client:
        first, second = (
            Lease(client, LeaseSettings(namespace=namespace, name="operator", holder=holder, seconds=SECONDS))
            for holder in ("first", "second")
        )
        yield first, second


def test_one_works_and_the_other_takes_over_when_it_says_goodbye(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        async with leases(cluster, namespace) as (first, second):
            await first.acquire()
            keeping = asyncio.create_task(first.keep())
            waiting = asyncio.create_task(second.acquire())
            await asyncio.sleep(2 * SECONDS)
            assert first.held
            assert not waiting.done()
            keeping.cancel()
            loop = asyncio.get_running_loop()
            released = loop.time()
            await first.release()
            await waiting
            assert loop.time() - released < SECONDS
            assert second.held

    asyncio.run(body())


def test_a_silent_holder_is_waited_for(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        async with leases(cluster, namespace) as (first, second):
            await first.acquire()  # and never renews it
            loop = asyncio.get_running_loop()
            started = loop.time()
            await second.acquire()
            assert loop.time() - started >= SECONDS

    asyncio.run(body())


def test_who_has_lost_it_stops(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        async with leases(cluster, namespace) as (first, second):
            await first.acquire()
            await second.acquire()
            with pytest.raises(LeaseLostError):
                await asyncio.wait_for(first.keep(), 5)
            assert not first.held

    asyncio.run(body())


def test_a_label_on_the_lease_costs_nobody_his_place(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        async with leases(cluster, namespace) as (first, _):
            await first.acquire()
            cluster.api.patch("leases", "operator", {"metadata": {"labels": {"a": "b"}}}, namespace)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(first.keep(), 2 * SECONDS)
            assert first.held

    asyncio.run(body())


def test_who_cannot_renew_in_time_stops(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        async with leases(cluster, namespace) as (first, _):
            await first.acquire()
            cluster.processes["apiserver"].freeze()
            try:
                with pytest.raises(LeaseLostError, match="in time"):
                    await asyncio.wait_for(first.keep(), 3 * SECONDS)
            finally:
                cluster.processes["apiserver"].thaw()

    asyncio.run(body())
    cluster.plane.wait_until_ready()


def test_it_does_not_blame_another_for_a_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    away = Configuration(host=f"http://127.0.0.1:{free_port()}")

    async def body() -> None:
        async with Client(away, attempts=1) as client:
            settings = LeaseSettings(namespace="default", name="operator", holder="first", seconds=0.1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(Lease(client, settings).acquire(), 1)

    asyncio.run(body())
    said = [one for one in caplog.records if one.name.endswith(".lease")]
    assert {one.levelname for one in said} == {"WARNING"}
    assert all(one.message.startswith("the API server does not answer: ") for one in said)
