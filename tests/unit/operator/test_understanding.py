"""Runs are understood anew exactly when something that decides them has changed."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from asrtune_api.status import FinetuneStatus, Phase
from asrtune_operator.backends.registry import BACKENDS
from asrtune_operator.follow.resync import keep, read
from asrtune_operator.kube.client import Client
from asrtune_operator.state.objects import RunObject
from asrtune_operator.state.store import Store
from asrtune_operator.understand.understanding import Understanding
from asrtune_operator.values.kinds import CLUSTER_RUNTIMES, CONFIG_MAPS, FINETUNES
from asrtune_operator.values.places import RUN_KEY
from asrtune_operator.values.run import Run
from tools.gangs import CHAIN, S3
from tools.manifests import chain, manifest
from tools.objects import custom_resource

SERVED = frozenset(one.resource for one in BACKENDS.values())


class ConfigMaps:
    """Stands for the API server where only ConfigMaps are asked for, and counts."""

    def __init__(self, found: dict[str, Any] | None = None) -> None:
        self.found = found
        self.asked: list[str] = []

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any] | None:
        assert (resource, namespace) == (CONFIG_MAPS, "speech")
        self.asked.append(name)
        return self.found


def finetune(generation: int = 1, **more: Any) -> RunObject:
    document = custom_resource(manifest(chain(stages=CHAIN) | S3)["spec"], **more)
    document["metadata"]["generation"] = generation
    return cast("RunObject", keep(FINETUNES, document))


def platform(version: int, **spec: Any) -> Any:
    metadata = {"name": "default", "uid": "rt", "resourceVersion": str(version)}
    return keep(CLUSTER_RUNTIMES, {"kind": "ClusterASRRuntime", "metadata": metadata, "spec": spec})


def test_what_changes_a_run_and_what_does_not() -> None:
    async def body() -> None:
        store = Store()
        understanding = Understanding(cast("Client", ConfigMaps()), store, "image:1")
        understanding.serve(SERVED)
        status = FinetuneStatus()
        first = await understanding.of(finetune(), status)
        assert await understanding.of(finetune(version=9, status={"phase": "Running"}), status) is first
        assert await understanding.of(finetune(generation=2), status) is not first
        store.put(CLUSTER_RUNTIMES, platform(1, image="image:2"))
        other = await understanding.of(finetune(generation=2), status)
        assert isinstance(other, Run)
        assert other.image == "image:2"
        store.put(CLUSTER_RUNTIMES, platform(2, image="image:3"))
        other = await understanding.of(finetune(generation=2), status)
        assert isinstance(other, Run)
        assert other.image == "image:3"
        retried = finetune(generation=2, annotations={"asrtune.dev/retry": "once"})
        assert (await understanding.of(retried, status)).retry == "once"
        understanding.forget("run-1")
        assert understanding.known("run-1") is None

    asyncio.run(body())


def test_after_a_restart_a_run_under_way_goes_by_its_config_map() -> None:
    async def body() -> None:
        store = Store()
        before = Understanding(cast("Client", ConfigMaps()), store, "image:1")
        first = await before.of(finetune(), FinetuneStatus())
        assert isinstance(first, Run)
        store.put(CLUSTER_RUNTIMES, platform(1, telemetry={"port": 1234}))  # would decide otherwise
        status = FinetuneStatus(run_spec=first.spec_name, spec_digest=first.digest)
        config_maps = ConfigMaps({"data": {"run.json": first.document}})
        after = Understanding(cast("Client", config_maps), store, "image:1")
        second = await after.of(finetune(), status)
        assert isinstance(second, Run)
        assert second.spec_name == first.spec_name
        assert config_maps.asked == [first.spec_name]
        gone = Understanding(cast("Client", ConfigMaps()), store, "image:1")
        third = await gone.of(finetune(), status)
        assert isinstance(third, Run)
        assert third.spec_name != first.spec_name
        ended = FinetuneStatus(run_spec=first.spec_name, spec_digest=first.digest, phase="Succeeded")  # type: ignore[arg-type]
        silent = ConfigMaps()
        await Understanding(cast("Client", silent), store, "image:1").of(finetune(), ended)
        assert silent.asked == []  # it will never run again

    asyncio.run(body())


def test_an_object_that_cannot_be_read_keeps_nobody_else_from_being() -> None:
    assert read(FINETUNES, {"kind": "ASRFinetune", "metadata": {"name": "odd"}}) is None
    assert read(FINETUNES, {"kind": "ASRFinetune", "metadata": None}) is None


def test_an_edit_waits_as_long_as_pods_run() -> None:
    async def body() -> None:
        maps = ConfigMaps()
        understanding = Understanding(cast("Client", maps), Store(), "image:1")
        understanding.serve(SERVED)
        first = await understanding.of(finetune(), FinetuneStatus())
        assert isinstance(first, Run)
        maps.found = {"data": {RUN_KEY: first.document}}
        runs = FinetuneStatus(phase=Phase.RUNNING, run_spec=first.spec_name, spec_digest=first.digest)
        edited = finetune(generation=2)
        edited.manifest["spec"]["seed"] = 99
        held = await understanding.of(edited, runs)
        assert isinstance(held, Run)
        assert (held.edited, held.spec_name, held.digest) == (True, first.spec_name, first.digest)
        ended = runs.model_copy(update={"phase": Phase.SUSPENDED})
        other = await understanding.of(edited, ended)
        assert isinstance(other, Run)
        assert (other.edited, other.spec.seed) == (False, 99)
        assert other.spec_name != first.spec_name

    asyncio.run(body())
