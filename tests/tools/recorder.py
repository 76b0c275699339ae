"""Everything that a watch of the API server tells about workloads and pods, and what must never be in it."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote

import urllib3

from cluster.client import Json
from cluster.cluster import Cluster

_PATHS = {"Job": "/apis/batch/v1/jobs", "Pod": "/api/v1/pods"}
_LABEL = quote("asrtune.dev/run")
_ENDED = {"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"}


@dataclass
class Recorder:
    """What was seen, in the order of the API server's versions.

    Attributes:
        seen: how many changes.
        lists: how often a watch had to begin anew, with a list; changes in between are not seen.
        names: of every workload ever made, with the uids that bore each.
        wrong: what must not be: two living workloads of one stage, or pods of two gangs of one run.
    """

    cluster: Cluster
    seen: int = 0
    lists: int = 0
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    wrong: list[str] = field(default_factory=list)
    _alive: dict[tuple[str, str], dict[str, tuple[str, str]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def follow(self, kind: str) -> None:
        """Watches a kind until the recording ends."""
        version = ""
        while not self._ended.is_set():
            try:
                version = self._watch(kind, version or self._list(kind))
            except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError):
                version = ""  # the API server restarts, or knows that version no more
                self._ended.wait(0.1)

    def _list(self, kind: str) -> str:
        answer = self.cluster.api.request("GET", f"{_PATHS[kind]}?labelSelector={_LABEL}")[1]
        version = str(answer["metadata"]["resourceVersion"])
        self.lists += 1
        self._forget(kind, {one["metadata"]["uid"] for one in answer["items"]})
        for one in answer["items"]:
            self._take(kind, one, gone=False)
        return version

    def _watch(self, kind: str, version: str) -> str:
        """Until nothing comes for a while. Returns the last version."""
        access = self.cluster.api.access
        query = f"?watch=1&labelSelector={_LABEL}&resourceVersion={version}"
        url, patience = access.server + _PATHS[kind] + query, urllib3.Timeout(5, 3)
        answer = access.pool().request("GET", url, preload_content=False, timeout=patience, retries=False)
        rest = b""
        with suppress(urllib3.exceptions.ReadTimeoutError):
            for chunk in answer.read_chunked():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    change = json.loads(line)
                    version = change["object"]["metadata"]["resourceVersion"]
                    self._take(kind, change["object"], gone=change["type"] == "DELETED")
                if self._ended.is_set():
                    break
        answer.close()
        return version

    def end(self) -> None:
        self._ended.set()

    def _forget(self, kind: str, there: set[str]) -> None:
        with self._lock:
            for (of, _), alive in self._alive.items():
                if of == kind:
                    for uid in set(alive) - there:
                        del alive[uid]

    def _take(self, kind: str, document: Json, *, gone: bool) -> None:
        metadata = document["metadata"]
        labels, uid = metadata["labels"], metadata["uid"]
        attempt = (labels["asrtune.dev/stage"], labels["asrtune.dev/attempt"])
        with self._lock:
            self.seen += 1
            if kind == "Job":
                self.names[f"{metadata['namespace']}/{metadata['name']}"].add(uid)
            # A Job counts as complete a moment after its pods: only one of the same stage is in its way.
            whose = labels["asrtune.dev/run-uid"] + (attempt[0] if kind == "Job" else "")
            alive = self._alive[kind, whose]
            alive.pop(uid, None)
            if not gone and _lives(kind, document):
                alive[uid] = attempt
                if len(set(alive.values())) > 1:
                    self.wrong.append(f"{kind}s of {labels['asrtune.dev/run']} live at once: {alive}")


def _lives(kind: str, document: Json) -> bool:
    status = document.get("status", {})
    if kind == "Pod":
        return status.get("phase") not in {"Succeeded", "Failed"}
    ended = {one["type"] for one in status.get("conditions") or [] if one["status"] == "True"}
    return not ended & _ENDED and "deletionTimestamp" not in document["metadata"]


@contextmanager
def recording(cluster: Cluster) -> Iterator[Recorder]:
    """Records in the background."""
    recorder = Recorder(cluster)
    threads = [threading.Thread(target=recorder.follow, args=(kind,), daemon=True) for kind in _PATHS]
    for thread in threads:
        thread.start()
    try:
        yield recorder
    finally:
        recorder.end()
        for thread in threads:
            thread.join(10)
