"""The API server as the plugin uses it: the user's kubeconfig and rights, and refusals in words for people."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, incluster_config

from asrtune_api.suggest import did_you_mean
from asrtune_operator.kube.client import RETRIED, ApiError, ApiUnreachableError, Client, path_of
from asrtune_operator.kube.credentials import credentials
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.kubectl.options import Where
from asrtune_operator.kubectl.runs import Json, Ref, RunView
from asrtune_operator.render.pods import CONTAINER
from asrtune_operator.values.kinds import EVALUATIONS, EVENTS, FINETUNES, NAMESPACES, PODS, Resource

MANAGER: Final = "kubectl-asrtune"
"""Field manager of what the plugin changes."""
_ATTEMPTS: Final = 3
_OUTAGE_SECONDS: Final = 300
"""How long an API server may be away while a run is followed."""
_PAUSE_SECONDS: Final = 2
_WHICH_KUBECONFIG: Final = (
    "Does `kubectl get namespaces` work? Name the file with --kubeconfig or $KUBECONFIG."
)
_TOKEN: Final = Path(incluster_config.SERVICE_TOKEN_FILENAME)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_REFUSED: Final = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"')


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace of a cluster."""

    client: Client
    namespace: str

    async def run(self, ref: Ref) -> RunView:
        """A run.

        Raises:
            PluginError: there is none; with the name that was probably meant.
        """
        found = await self.client.get(ref.resource, self.namespace, ref.name)
        if found is not None:
            return RunView({"apiVersion": ref.resource.api_version, "kind": ref.resource.kind} | found)
        names = [str(view.ref) for resource in (FINETUNES, EVALUATIONS) for view in await self.runs(resource)]
        raise PluginError(
            f"there is no {ref.resource.kind} {ref.name} in namespace {self.namespace}.",
            remedy=_suggestion(ref, names)
            or "See `kubectl asrtune status`, or name the namespace: -n NAMESPACE.",
        )

    async def run_again(self, ref: Ref) -> RunView:
        """A run that is followed for hours: an API server that restarts meanwhile is waited for.

        Raises:
            PluginError: it was deleted.
        """
        deadline = time.monotonic() + _OUTAGE_SECONDS
        while True:
            try:
                return await self.run(ref)
            except (ApiUnreachableError, ApiError) as error:
                for_good = isinstance(error, ApiError) and error.status not in RETRIED
                if for_good or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def runs(self, resource: Resource) -> list[RunView]:
        """All runs of a kind, the oldest first.

        Raises:
            PluginError: the cluster does not know the kind.
        """
        try:
            views = [RunView(one) async for one in self.client.list(resource, self.namespace)]
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            raise PluginError(
                f"the cluster does not know {resource.kind} ({resource.api_version}).",
                remedy="asrtune is not installed there: who runs the cluster installs its CRDs and operator.",
            ) from None
        return sorted(views, key=lambda view: view.run.created)

    async def is_there(self) -> bool:
        """Whether the namespace exists; who may not see namespaces is not told that one does not."""
        try:
            return await self.client.get(NAMESPACES, None, self.namespace) is not None
        except ApiError as error:
            if error.status == _FORBIDDEN:
                return True
            raise

    async def change(self, ref: Ref, patch: Mapping[str, Any]) -> RunView:
        """Change a run by a JSON merge patch."""
        changed = await self.client.patch(ref.resource, self.namespace, ref.name, patch, MANAGER)
        return RunView({"apiVersion": ref.resource.api_version, "kind": ref.resource.kind} | changed)

    async def pods(self, labels: str) -> list[Json]:
        """Pods by their labels."""
        return [pod async for pod in self.client.list(PODS, self.namespace, labels=labels)]

    async def events(self, uid: str) -> list[Json]:
        """The events about an object."""
        fields = f"involvedObject.uid={uid}"
        return [event async for event in self.client.list(EVENTS, self.namespace, fields=fields)]

    async def if_allowed(self, asked: Awaitable[list[Json]]) -> list[Json]:
        """What the user may see; nothing where that is forbidden."""
        try:
            return await asked
        except ApiError as error:
            if error.status == _FORBIDDEN:
                return []
            raise

    def log(self, pod: str, query: Mapping[str, str]) -> AsyncIterator[str]:
        """The lines of a pod's log, each behind its time; `query` as for the pod's subresource log."""
        whole = {"container": CONTAINER, "timestamps": "true", **query}
        return self.client.lines(path_of(PODS, self.namespace, pod) + "/log", whole)


@asynccontextmanager
async def connect(where: Where) -> AsyncIterator[Cluster]:
    """The cluster and namespace that the user means.

    Raises:
        PluginError: there is no way in, no answer, or no right.
    """
    file = _kubeconfig(where)
    name, namespace = _context(where, file) if file else _service_account(where)
    async with AsyncExitStack() as stack:
        with _kubeconfig_errors():
            found = credentials(Path(file) if file else None, where.context)
            configuration = await stack.enter_async_context(found)
        stack.enter_context(_refusals(configuration, name))
        client = await stack.enter_async_context(Client(configuration, attempts=_ATTEMPTS))
        yield Cluster(client, namespace)


def _suggestion(ref: Ref, names: list[str]) -> str:
    other = f"evaluation/{ref.name}" if ref.resource is FINETUNES else ref.name
    return f'Did you mean "{other}"?' if other in names else did_you_mean(str(ref), names)


def _kubeconfig(where: Where) -> str | None:
    """The file, or several as $KUBECONFIG may name them; None, as for kubectl: the ServiceAccount of this pod."""
    named = where.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if any(Path(one).expanduser().exists() for one in named.split(os.pathsep) if one):
        return named
    in_a_pod = incluster_config.SERVICE_HOST_ENV_NAME in os.environ and _TOKEN.exists()
    if in_a_pod and where.kubeconfig is None and where.context is None:
        return None
    raise PluginError(f"there is no kubeconfig {named}.", remedy=_WHICH_KUBECONFIG)


def _service_account(where: Where) -> tuple[str, str]:
    """What stands for the context's name, and the namespace."""
    return "in-cluster", where.namespace or _TOKEN.with_name("namespace").read_text().strip()


def _context(where: Where, file: str) -> tuple[str, str]:
    """Name of the context, and the namespace."""
    with _kubeconfig_errors():
        contexts, active = config.list_kube_config_contexts(file)
    if where.context is not None:
        known = {str(one["name"]): one for one in contexts}
        if where.context not in known:
            raise PluginError(
                f'the kubeconfig has no context "{where.context}".',
                remedy=did_you_mean(where.context, known, what="contexts"),
            )
        active = known[where.context]
    return str(active["name"]), where.namespace or active["context"].get("namespace") or "default"


@contextmanager
def _kubeconfig_errors() -> Iterator[None]:
    try:
        yield
    except (ConfigException, yaml.YAMLError, OSError, AttributeError, TypeError, KeyError) as error:
        raise PluginError(
            f"the kubeconfig leads to no cluster: {error}".rstrip(".") + ".",
            remedy=_WHICH_KUBECONFIG,
        ) from None


@contextmanager
def _refusals(configuration: Configuration, context: str) -> Iterator[None]:
    try:
        yield
    except ApiUnreachableError as error:
        cause = error.__cause__
        raise PluginError(
            f"the cluster of context {context} ({configuration.host}) does not answer: "
            f"{str(cause) or type(cause).__name__}.",
            remedy="Is it running, and can this machine reach it?",
        ) from None
    except ApiError as error:
        raise _explained(error, context) from None


def _explained(error: ApiError, context: str) -> PluginError:
    if error.status == _UNAUTHORIZED:
        return PluginError(
            f"the cluster of context {context} does not know you: the credentials are wrong or have expired.",
            remedy="Log in anew, as your cluster wants it.",
        )
    refused = _REFUSED.search(error.message)
    if error.status == _FORBIDDEN and refused is not None:
        return PluginError(
            f"{refused['user']} has no right to {refused['verb']} {refused['resource']}: {error.message}.",
            remedy="Ask who runs the cluster for a Role with that verb.",
        )
    return PluginError(f"the API server refuses: {error.message or error.reason}".rstrip(".") + ".")
