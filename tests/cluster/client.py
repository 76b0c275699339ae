"""An API client for tests: JSON in, JSON out, kinds by the names that kubectl takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from cluster.access import Access
from cluster.resources import Resource, find, parse
from cluster.waiting import wait_for

Json = dict[str, Any]
Documents = list[Json]
_MERGE = "merge-patch+json"
_DISCOVERY_SECONDS = 15
"""A CRD that is established is discovered a moment later."""
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class ApiError(AssertionError):
    """The API server refused. An AssertionError, so that an unexpected one fails the test with its message."""

    def __init__(self, status: int, answer: Json, request: str) -> None:
        super().__init__(f"{request}: {status} {answer.get('reason', '')}: {answer.get('message', answer)}")
        self.status = status
        self.answer = answer


class Client:
    """Talks to one API server as one identity; any number of threads may share it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._pool = access.pool()
        self._resources: list[Resource] = []

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "json",
        accept: str = "application/json",
        timeout: float = 60,
    ) -> tuple[int, Any]:
        """Status and JSON answer of any request; `kind` is the body's content type after `application/`."""
        answer = self._pool.request(
            method,
            self.access.server + path,
            body=None if body is None else json.dumps(body),
            headers={**self._pool.headers, "Content-Type": f"application/{kind}", "Accept": accept},
            timeout=timeout,
            retries=False,
        )
        text = answer.data.decode(errors="replace")
        try:
            return answer.status, json.loads(text or "{}")
        except ValueError:
            return answer.status, {"message": text}

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return self.request("GET", "/readyz", timeout=2)[0] == 200
        except OSError:
            return False
        except Exception as error:  # urllib3's are no OSErrors
            if type(error).__module__.startswith("urllib3."):
                return False
            raise

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        """One object.

        Raises:
            ApiError: with status 404 where there is none; `find` returns None instead.
        """
        return self._checked("GET", self._resource(kind).path(namespace, name))

    def find(self, kind: str, name: str, namespace: str = "default") -> Json | None:
        """One object, None where there is none."""
        path = self._resource(kind).path(namespace, name)
        status, answer = self.request("GET", path)
        if status not in {200, 404}:
            raise ApiError(status, answer, f"GET {path}")
        return answer if status == 200 else None

    def list(
        self, kind: str, namespace: str | None = "default", *, labels: str = "", fields: str = ""
    ) -> Documents:
        """All objects of a namespace (None: of all namespaces) with these labels, each with its kind."""
        resource = self._resource(kind)
        query = _query(labelSelector=labels, fieldSelector=fields)
        answer = self._checked("GET", resource.path(namespace) + query)
        own = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [own | item for item in answer["items"]]

    def create(self, document: Json, *, dry_run: bool = False) -> Json:
        """The object as stored; unknown fields are refused."""
        return self._checked("POST", self._path(document, named=False) + _strict(dry_run=dry_run), document)

    def apply(self, documents: Json | Iterable[Json], *, manager: str = "test") -> Documents:
        """Server-side apply; Lists are taken apart."""
        given = [documents] if isinstance(documents, dict) else list(documents)
        single = [item for document in given for item in document.get("items", [document])]
        query = _query(fieldManager=manager, force="true")
        return [
            self._checked("PATCH", self._path(one, named=True) + query, one, kind="apply-patch+yaml")
            for one in single
        ]

    def patch(
        self, kind: str, name: str, change: Json, namespace: str = "default", *, subresource: str = ""
    ) -> Json:
        """A JSON merge patch: None removes a field, a list replaces the old one."""
        path = self._resource(kind).path(namespace, name, subresource)
        return self._checked("PATCH", path, change, kind=_MERGE)

    def patch_status(self, kind: str, name: str, status: Json, namespace: str = "default") -> Json:
        """A JSON merge patch of the status."""
        return self.patch(kind, name, {"status": status}, namespace, subresource="status")

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "default",
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Deletes; an absent object is no error."""
        options: Json = {"propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        path = self._resource(kind).path(namespace, name)
        status, answer = self.request("DELETE", path, options)
        if status not in {200, 202, 404}:
            raise ApiError(status, answer, f"DELETE {path}")

    def evict(self, pod: str, namespace: str = "default") -> None:
        """The eviction API, as `kubectl drain` calls it: the pod gets DisruptionTarget and is deleted."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        self._checked("POST", self._resource("pods").path(namespace, pod, "eviction"), body)

    def wait(
        self,
        kind: str,
        name: str,
        predicate: Callable[[Json], object],
        namespace: str = "default",
        *,
        timeout: float = 30,
    ) -> Json:
        """The object as soon as the predicate holds of it; its last state is in the error otherwise."""
        last: Json | None = None

        def probe() -> Json | None:
            nonlocal last
            last = self.find(kind, name, namespace)
            return last if last is not None and predicate(last) else None

        return wait_for(probe, timeout=timeout, what=f"{kind} {namespace}/{name}", state=lambda: last)

    def wait_until_gone(
        self, kind: str, name: str, namespace: str = "default", *, timeout: float = 30
    ) -> None:
        """Returns when there is no such object."""
        wait_for(
            lambda: self.find(kind, name, namespace) is None,
            timeout=timeout,
            what=f"the end of {kind} {namespace}/{name}",
            state=lambda: self.find(kind, name, namespace),
        )

    def condition(self, document: Json, kind: str) -> Json:
        """A condition of an object's status, empty where it has none of that type."""
        listed = document.get("status", {}).get("conditions") or []
        return next((one for one in listed if one["type"] == kind), {})

    def events(self, name: str, namespace: str = "default") -> Documents:
        """The core Events about the object of that name, the oldest first."""
        found = self.list("events", namespace, fields=f"involvedObject.name={name}")
        return sorted(found, key=lambda one: one["metadata"]["creationTimestamp"])

    def _resource(self, kind: str) -> Resource:
        found = find(self._resources, kind)
        deadline = time.monotonic() + _DISCOVERY_SECONDS
        while found is None:  # nothing is known yet, or a CRD is new
            answers = [self._checked("GET", path, accept=_AGGREGATED) for path in ("/api", "/apis")]
            self._resources = [resource for answer in answers for resource in parse(answer)]
            found = find(self._resources, kind)
            assert found or time.monotonic() < deadline, f"the API server serves no {kind}"
            time.sleep(0 if found else 0.2)
        return found

    def _path(self, document: Json, *, named: bool) -> str:
        metadata: Mapping[str, str] = document["metadata"]
        resource = self._resource(f"{document['apiVersion']}/{document['kind']}")
        return resource.path(metadata.get("namespace", "default"), metadata["name"] if named else "")

    def _checked(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        kind: str = "json",
        accept: str = "application/json",
    ) -> Json:
        status, answer = self.request(method, path, body, kind=kind, accept=accept)
        if status >= 300:
            raise ApiError(status, answer, f"{method} {path}")
        assert isinstance(answer, dict)
        return answer


def _query(**parameters: str) -> str:
    given = {name: value for name, value in parameters.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _strict(*, dry_run: bool) -> str:
    return _query(fieldValidation="Strict", dryRun="All" if dry_run else "")
