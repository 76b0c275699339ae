"""Runs as the operator understands them, made from a manifest without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asrtune_api.finetune import ASRFinetune
from asrtune_api.policy import Backend
from asrtune_api.resolve import resolve
from asrtune_api.runtime import ClusterASRRuntime
from asrtune_operator.values.places import POD
from asrtune_operator.values.run import Identity, Run
from asrtune_operator.values.units import Unit, units_of
from tools.manifests import chain, manifest

UID = "11111111-2222-3333-4444-555555555555"
IMAGE = "registry.example/asrtune/trainer:0.1.0"
CHAIN = [
    {"name": "prepare", "type": "Prepare"},
    {"name": "train", "type": "Train", "train": {"epochs": 3}},
    {"name": "evaluate", "type": "Evaluate"},
    {"name": "publish", "type": "Publish"},
]
S3 = {
    "model.uri": "s3://speech/base",
    "data.train.0.uri": "s3://speech/train.jsonl",
    "data.validation.0.uri": "s3://speech/dev.jsonl",
    "data.test": [{"name": "calls", "uri": "s3://speech/test.jsonl"}],
    "output.uri": "s3://speech/runs/demo",
}
EVERYTHING: dict[str, Any] = {
    "gpuResource": "nvidia.com/mig-3g.40gb",
    "telemetry": {"port": 9500},
    "nccl": {"fabric": "EFA", "interface": "eth0"},
    "pod": {
        "labels": {"team": "speech", "asrtune.dev/run": "stolen"},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "nodeSelector": {"accelerator": "h200"},
        "tolerations": [
            {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 600,
            },
        ],
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "ASRTUNE_RANK", "value": "7"}],
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "batch",
        "sharedMemory": "64Gi",
        "scratch": {"size": "1Ti", "storageClassName": "local-nvme"},
        "volumes": [
            {"name": "cache", "claim": "shared-cache", "mountPath": "/cache"},
            {"name": "corpus", "claim": "runtime-corpus", "mountPath": "/corpus"},
        ],
        "extraResources": {"vpc.amazonaws.com/efa": "4"},
        "runAsUser": 1000,
        "fsGroup": 2000,
    },
}
"""A runtime's spec that says all there is to say."""
OWN_VOLUMES: dict[str, Any] = {
    "volumes": [
        {
            "name": "cache",
            "claim": "corpus",
            "mountPath": "/corpus",
            "readOnly": True,
            "subPath": "zh/telephone",
        },
        {"name": "tmp", "claim": "big-tmp", "mountPath": "/tmp"},
    ],
    "execution": {"topology": {"packBy": "topology.kubernetes.io/zone", "spreadOverHosts": True}},
    "runPolicy": {"gracePeriodSeconds": 60},
}
"""Changes of a manifest: volumes that go over the runtime's and the pod's own, and where its pods go."""


def gang_run(
    changes: Mapping[str, Any] | None = None,
    *,
    backend: Backend = Backend.JOB,
    runtime: Mapping[str, Any] | None = None,
    name: str = "demo",
    namespace: str = "speech",
    uid: str = UID,
    secret: str | None = None,
    queue: str | None = None,
) -> Run:
    """A finetune of four stages.

    Args:
        changes: as for `tools.manifests.manifest`.
        backend: of the gang.
        runtime: spec of the ClusterASRRuntime, if there is one.
        name: of the finetune.
        namespace: of the finetune.
        uid: of the finetune.
        secret: name of the storage Secret.
        queue: name of the Kueue LocalQueue.
    """
    document = manifest(chain(stages=CHAIN) | S3 | dict(changes or {}))
    document["metadata"] = {"name": name, "namespace": namespace}
    finetune = ASRFinetune.model_validate(document)
    platform = ClusterASRRuntime.model_validate(
        {
            "apiVersion": "asrtune.dev/v1alpha1",
            "kind": "ClusterASRRuntime",
            "metadata": {"name": "default"},
            "spec": dict(runtime or {}),
        }
    )
    spec = resolve(finetune, platform, base=None, place=POD)
    return Run(
        identity=Identity("ASRFinetune", namespace, name, uid),
        generation=1,
        created=datetime(2025, 1, 1, tzinfo=UTC),
        spec=spec,
        digest="0" * 10,
        units=units_of(spec, finetune.spec.execution.pods, finetune.spec.quality_gate),
        policy=finetune.spec.run_policy,
        resources=finetune.spec.resources,
        execution=finetune.spec.execution,
        backend=backend,
        runtime=platform.spec,
        image=IMAGE,
        volumes=tuple(finetune.spec.volumes),
        secret=secret,
        queue=queue,
    )


def unit_of(run: Run, stage: str) -> Unit:
    """The unit that begins with a stage."""
    return next(unit for unit in run.units if unit.key == stage)
