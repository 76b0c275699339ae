"""The operator's client against a real API server, and against one that answers badly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from asrtune_operator.kube.client import PAGE, ApiError, ApiUnreachableError, Client
from asrtune_operator.kube.credentials import credentials, open_session
from asrtune_operator.values.kinds import CONFIG_MAPS, FINETUNES, PODS, Resource
from cluster.cluster import Cluster
from tools.manifests import manifest
from tools.ports import free_port


@asynccontextmanager
async def connected(
    cluster: Cluster, counted: Counter[tuple[str, str, str]] | None = None
) -> AsyncIterator[Client]:
    def count(verb: str, plural: str, code: str, seconds: float) -> None:
        if counted is not None:
            counted[verb, plural, code] += 1

    async with (
        credentials(cluster.kubeconfig, None) as configuration,
        Client(configuration, on_request=count) as client,
    ):
        yield client


def config_map(namespace: str, name: str = "one", **data: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"test": "yes"}},
        "data": data,
    }


def test_apply_get_create_delete(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        counted: Counter[tuple[str, str, str]] = Counter()
        async with connected(cluster, counted) as client:
            assert await client.get(CONFIG_MAPS, namespace, "one") is None
            made = await client.apply(CONFIG_MAPS, config_map(namespace, a="1"))
            again = await client.apply(CONFIG_MAPS, config_map(namespace, a="1"))
            assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
            assert made["metadata"]["managedFields"][0]["manager"] == "asrtune"
            assert await client.create(CONFIG_MAPS, config_map(namespace)) is None  # it exists
            assert not await client.delete(CONFIG_MAPS, namespace, "one", uid="another")
            assert await client.delete(CONFIG_MAPS, namespace, "one", uid=made["metadata"]["uid"])
            assert not await client.delete(CONFIG_MAPS, namespace, "one", uid=made["metadata"]["uid"])
        assert counted["apply", "configmaps", "201"] == 1
        assert counted["delete", "configmaps", "409"] == 1

    asyncio.run(body())


def test_lists_come_page_by_page(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        counted: Counter[tuple[str, str, str]] = Counter()
        async with connected(cluster, counted) as client:
            count = PAGE + 20
            made = [
                client.apply(CONFIG_MAPS, config_map(namespace, f"m-{number}")) for number in range(count)
            ]
            await asyncio.gather(*made)
            listed = [one async for one in client.list(CONFIG_MAPS, namespace, labels="test=yes")]
        assert len({one["metadata"]["name"] for one in listed}) == count
        assert {one["kind"] for one in listed} == {"ConfigMap"}
        assert counted["list", "configmaps", "200"] == 2

    asyncio.run(body())


def test_a_status_is_written_only_to_the_version_that_was_read(cluster: Cluster, namespace: str) -> None:
    document = manifest()
    document["metadata"]["namespace"] = namespace
    read = cluster.api.create(document)

    async def body() -> None:
        async with connected(cluster) as client:
            version = read["metadata"]["resourceVersion"]
            write = {"phase": "Pending", "stage": "train"}
            made = await client.patch_status(FINETUNES, namespace, "demo", write, version)
            with pytest.raises(ApiError) as refused:
                await client.patch_status(FINETUNES, namespace, "demo", {"phase": "Failed"}, version)
            assert refused.value.status == 409
            version = made["metadata"]["resourceVersion"]
            made = await client.patch_status(FINETUNES, namespace, "demo", {"stage": None}, version)
            assert made["status"] == {"phase": "Pending"}

    asyncio.run(body())


def test_a_forced_deletion_needs_no_node(cluster: Cluster, namespace: str) -> None:
    spec = {"nodeName": "nobody", "containers": [{"name": "c", "image": "none"}]}
    pod = cluster.api.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}, "spec": spec}
    )

    async def body() -> None:
        async with connected(cluster) as client:
            assert await client.delete(PODS, namespace, "p", uid=pod["metadata"]["uid"], grace=0)

    asyncio.run(body())
    cluster.api.wait_until_gone("pods", "p", namespace)


def test_a_refusal_tells_the_servers_words(cluster: Cluster, namespace: str) -> None:
    async def body() -> None:
        async with connected(cluster) as client:
            nowhere = Resource("asrtune.dev", "v1alpha1", "nothings", "Nothing")
            with pytest.raises(ApiError) as refused:
                _ = [one async for one in client.list(nowhere, namespace)]
            assert refused.value.status == 404
            wrong = config_map(namespace, "Not A Name")
            with pytest.raises(ApiError) as refused:
                await client.create(CONFIG_MAPS, wrong)
            assert (refused.value.status, refused.value.reason) == (422, "Invalid")
            assert "Not A Name" in refused.value.message

    asyncio.run(body())


Answer = Callable[[int], Awaitable[web.Response]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[tuple[Client, list[int]]]:
    """A client of a server that answers as told; the list grows with each request."""
    asked: list[int] = []

    async def handle(_: web.Request) -> web.Response:
        asked.append(len(asked))
        return await answer(asked[-1])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with serving(app) as url, Client(Configuration(host=url)) as client:
        yield client, asked


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """A server's URL."""
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(status: int) -> None:
    async def answer(number: int) -> web.Response:
        return web.json_response({"ok": True} if number == 2 else {}, status=200 if number == 2 else status)

    async def body() -> None:
        async with answering(answer) as (client, asked):
            assert await client.get(PODS, "a", "b") == {"ok": True}
            assert len(asked) == 3

    asyncio.run(body())


def test_the_server_says_when_to_come_back() -> None:
    async def answer(number: int) -> web.Response:
        if number == 0:
            return web.Response(status=429, headers={"Retry-After": "2"})
        return web.json_response({})

    async def body() -> None:
        async with answering(answer) as (client, _):
            loop = asyncio.get_running_loop()
            started = loop.time()
            await client.get(PODS, "a", "b")
            assert loop.time() - started >= 2

    asyncio.run(body())


def test_what_does_not_pass_is_told_at_once_or_in_the_end() -> None:
    async def refuse(_: int) -> web.Response:
        return web.json_response({"reason": "Forbidden", "message": "no"}, status=403)

    async def break_down(_: int) -> web.Response:
        return web.Response(status=503, text="<html>a proxy's page</html>")

    async def body() -> None:
        async with answering(refuse) as (client, asked):
            with pytest.raises(ApiError, match="403 Forbidden: no"):
                await client.get(PODS, "a", "b")
            assert len(asked) == 1
        async with answering(break_down) as (client, asked):
            with pytest.raises(ApiError, match="a proxy's page"):
                await client.get(PODS, "a", "b")
            assert len(asked) == 5

    asyncio.run(body())


def test_nobody_there() -> None:
    async def body() -> None:
        async with Client(Configuration(host=f"http://127.0.0.1:{free_port()}")) as client:
            with pytest.raises(ApiUnreachableError, match="GET /api/v1/namespaces/a/pods/b"):
                await client.get(PODS, "a", "b")

    asyncio.run(body())


def test_a_renewed_token_is_used_from_the_next_request_on() -> None:
    """By the client and by kopf's session alike."""
    tokens: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization", ""))
        return web.json_response({})

    def renew(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = f"bearer {len(tokens)}"

    async def body() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        async with serving(app) as url:
            configuration = Configuration(host=url)
            configuration.api_key["BearerToken"] = "bearer first"
            configuration.refresh_api_key_hook = renew
            async with Client(configuration) as client:
                await client.get(PODS, "a", "b")
                await client.get(PODS, "a", "b")
            async with open_session(configuration) as session:
                await session.get(url)
                await session.get(url)

    asyncio.run(body())
    assert tokens == ["bearer 0", "bearer 1", "bearer 2", "bearer 3"]
