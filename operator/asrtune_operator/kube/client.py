"""The API server as the operator uses it: JSON in, JSON out; time-outs and retries in this place only."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTResponse

from asrtune_operator.kube.credentials import token_header
from asrtune_operator.values.kinds import Resource
from asrtune_operator.values.names import MANAGER

Json = dict[str, Any]
OnRequest = Callable[[str, str, str, float], None]
"""Called after each request with its verb, the plural, the status code (or the error's name), and its seconds."""

RETRIED: Final = frozenset({429, 500, 502, 503, 504})
ATTEMPTS: Final = 5
FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 10.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)
LIST_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=5)
ENDLESS: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)
PAGE: Final = 500
CONNECTION_ERRORS: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: the HTTP status code.
        reason: the server's word for it, such as AlreadyExists.
        message: the server's explanation.
    """

    def __init__(self, request: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{request}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        verb: as RBAC and the metrics call it.
        plural: what it is about, for the metrics.
        method: of HTTP.
        path: on the server.
        body: JSON.
        query: parameters; empty ones are left out.
        content: the body's type after `application/`.
        accept: the type of the answer.
        patience: time-outs of one attempt.
    """

    verb: str
    plural: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    content: str = "json"
    accept: str = "application/json"
    patience: aiohttp.ClientTimeout = TIMEOUT

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ApiUnreachableError(Exception):
    """The API server did not answer, however often it was asked."""


def ignore_request(verb: str, plural: str, code: str, seconds: float) -> None:
    """An `OnRequest` that counts nothing."""


class Client:
    """Talks to one API server. For one event loop."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        connections: int = 32,
        attempts: int = ATTEMPTS,
        on_request: OnRequest = ignore_request,
    ) -> None:
        configuration.connection_pool_maxsize = connections
        self._attempts = attempts
        self._configuration = configuration
        self._api = ApiClient(configuration)
        self._on_request = on_request

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def apply(self, resource: Resource, manifest: Mapping[str, Any]) -> Json:
        """Server-side apply; what others own of our fields becomes ours.

        Raises:
            ApiError: refused (admission, quota, an immutable field).
            ApiUnreachableError: no answer.
        """
        path = path_of(resource, manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        return await self._send(
            Request(
                verb="apply",
                plural=resource.plural,
                method="PATCH",
                path=path,
                body=manifest,
                query={"fieldManager": MANAGER, "force": "true"},
                content="apply-patch+yaml",
            )
        )

    async def create(self, resource: Resource, manifest: Mapping[str, Any]) -> Json | None:
        """Create; None where an object of that name exists already.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer.
        """
        path = path_of(resource, manifest["metadata"].get("namespace"))
        try:
            return await self._send(
                Request(
                    verb="create",
                    plural=resource.plural,
                    method="POST",
                    path=path,
                    body=manifest,
                    query={"fieldManager": MANAGER},
                )
            )
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return None
            raise

    async def replace(self, resource: Resource, manifest: Mapping[str, Any]) -> Json:
        """Replace an object; with its resourceVersion, so that a concurrent change is a 409.

        Raises:
            ApiError: refused, or changed meanwhile.
            ApiUnreachableError: no answer.
        """
        path = path_of(resource, manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        return await self._send(
            Request(verb="update", plural=resource.plural, method="PUT", path=path, body=manifest)
        )

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json | None:
        """An object, None where there is none.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer.
        """
        try:
            path = path_of(resource, namespace, name)
            return await self._send(Request(verb="get", plural=resource.plural, method="GET", path=path))
        except ApiError as error:
            if error.status == 404:  # noqa: PLR2004
                return None
            raise

    async def read(self, path: str, accept: str = "application/json") -> Json:
        """What a path serves that is no resource: discovery, the version.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer.
        """
        plural = path.strip("/").split("/")[0]
        return await self._send(Request(verb="get", plural=plural, method="GET", path=path, accept=accept))

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[Json]:
        """The objects of a namespace, or of all (None); page by page.

        Raises:
            ApiError: refused; with status 410 when the list took so long that its later pages are gone.
            ApiUnreachableError: no answer.
        """
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        while True:
            answer = await self._send(
                Request(
                    verb="list",
                    plural=resource.plural,
                    method="GET",
                    path=path_of(resource, namespace),
                    query=query,
                    patience=LIST_TIMEOUT,
                )
            )
            for item in answer["items"]:
                item.setdefault("kind", resource.kind)
                item.setdefault("apiVersion", resource.api_version)
                yield item
            token = answer["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, grace: int | None = None
    ) -> bool:
        """Delete the object with that uid, its dependents in the background; False: it is gone, or is another one.

        Args:
            resource: its kind.
            namespace: its namespace.
            name: its name.
            uid: its uid.
            grace: seconds that a pod gets; None: its own; 0: at once, without the node's confirmation.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer.
        """
        options: Json = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._send(
                Request(
                    verb="delete",
                    plural=resource.plural,
                    method="DELETE",
                    path=path_of(resource, namespace, name),
                    body=options,
                )
            )
        except ApiError as error:
            if error.status in {404, 409}:
                return False
            raise
        return True

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], manager: str
    ) -> Json:
        """A JSON merge patch of what people decide: spec and annotations.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer.
        """
        return await self._send(
            Request(
                verb="patch",
                plural=resource.plural,
                method="PATCH",
                path=path_of(resource, namespace, name),
                body=patch,
                query={"fieldManager": manager},
                content="merge-patch+json",
            )
        )

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[str]:
        """The lines of a text, such as a log, as they come; without their ends.

        Raises:
            ApiError: refused.
            ApiUnreachableError: no answer, or broken off.
        """
        request = Request(
            verb="get", plural="pods/log", method="GET", path=path, query=query, patience=ENDLESS
        )
        try:
            answer = (await self._ask(request)).response
            if answer.status >= 300:  # noqa: PLR2004
                raise _refusal(request, answer.status, _parse(await answer.read()))
            async with answer:
                async for line in answer.content:
                    yield line.decode(errors="replace").rstrip("\r\n")
        except CONNECTION_ERRORS as error:
            raise ApiUnreachableError(f"{request}: {error!r}") from error

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], version: str
    ) -> Json:
        """A JSON merge patch of the status, refused (409) unless the object's resourceVersion is still the same.

        Raises:
            ApiError: refused, or changed meanwhile.
            ApiUnreachableError: no answer.
        """
        return await self._send(
            Request(
                verb="patch",
                plural=f"{resource.plural}/status",
                method="PATCH",
                path=path_of(resource, namespace, name) + "/status",
                body={"metadata": {"resourceVersion": version}, "status": patch},
                query={"fieldManager": MANAGER},
                content="merge-patch+json",
            )
        )

    async def _send(self, request: Request) -> Json:
        """One request, retried where the server or the network is to blame."""
        for attempt in range(1, self._attempts + 1):
            started = time.monotonic()
            try:
                status, retry_after, text = await self._try(request)
            except CONNECTION_ERRORS as error:
                self._count(request, type(error).__name__, started)
                if attempt == self._attempts:
                    raise ApiUnreachableError(f"{request}: {error!r}") from error
                await asyncio.sleep(_delay(attempt))
                continue
            self._count(request, str(status), started)
            if status < 300:  # noqa: PLR2004
                return _parse(text)
            if status not in RETRIED or attempt == self._attempts:
                raise _refusal(request, status, _parse(text))
            await asyncio.sleep(_delay(attempt, retry_after))
        raise AssertionError("the last attempt returns or raises")

    async def _try(self, request: Request) -> tuple[int, str | None, bytes]:
        answer = await self._ask(request)
        return answer.status, answer.headers.get("Retry-After"), await answer.read()

    async def _ask(self, request: Request) -> RESTResponse:
        given = {name: value for name, value in request.query.items() if value}
        url = f"{self._configuration.host}{request.path}" + (f"?{urlencode(given)}" if given else "")
        headers = {"Content-Type": f"application/{request.content}", "Accept": request.accept}
        headers |= await token_header(self._configuration)
        return await self._api.call_api(
            request.method, url, headers, request.body, _request_timeout=request.patience
        )

    def _count(self, request: Request, code: str, started: float) -> None:
        self._on_request(request.verb, request.plural, code, time.monotonic() - started)


def path_of(resource: Resource, namespace: str | None, name: str = "") -> str:
    """The path of an object, or of the list where no name is given (all namespaces where that is None)."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{resource.plural}" + (f"/{name}" if name else "")


def _parse(text: bytes) -> Json:
    try:
        document = json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace")[:500]}  # a proxy's page, not the server's JSON
    return document if isinstance(document, dict) else {"message": str(document)}


def _refusal(request: Request, status: int, answer: Json) -> ApiError:
    return ApiError(str(request), status, str(answer.get("reason") or ""), str(answer.get("message") or ""))


def _delay(attempt: int, retry_after: str | None = None) -> float:
    """Seconds to wait: doubled each time, never in step with other clients, at least what the server asks for."""
    delay = min(FIRST_DELAY * 2.0 ** (attempt - 1), LONGEST_DELAY) * random.uniform(0.5, 1.5)  # noqa: S311
    asked = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
    return max(delay, min(asked, LONGEST_DELAY))
