"""Who the operator is to the API server: the pod's ServiceAccount, or a kubeconfig."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

TOKEN = "BearerToken"  # noqa: S105 (the name that the client files the token under)


@contextlib.asynccontextmanager
async def credentials(kubeconfig: Path | None, context: str | None) -> AsyncIterator[Configuration]:
    """Server, certificates and token; the token stays fresh as long as the block runs.

    Args:
        kubeconfig: the file; None: the pod's ServiceAccount, whose rotated token is read again each minute.
        context: which of its contexts; None: the current one.

    Raises:
        ConfigException: there is neither, or the file is malformed.
    """
    configuration = Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=configuration)
        yield configuration
        return
    try:
        loader = await config.load_kube_config(
            config_file=str(kubeconfig),
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    except (yaml.YAMLError, OSError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise config.ConfigException(f"{kubeconfig} is malformed: {error}") from error
    refresher = asyncio.create_task(config.refresh_token(loader, configuration))
    try:
        yield configuration
    finally:
        refresher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await refresher


async def token_header(configuration: Configuration) -> dict[str, str]:
    """The Authorization header as of now; empty for client certificates."""
    token = await configuration.get_api_key_with_prefix(TOKEN)
    return {"Authorization": token} if token else {}


def open_session(configuration: Configuration) -> aiohttp.ClientSession:
    """A session for kopf that authenticates each request anew, so that a rotated token needs no new login."""

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.update(await token_header(configuration))
        return await handler(request)

    connector = aiohttp.TCPConnector(limit=0, ssl=RESTClientObject(configuration).ssl_context)
    return aiohttp.ClientSession(connector=connector, middlewares=(authenticate,), trust_env=True)
