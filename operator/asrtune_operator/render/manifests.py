"""What every object of a run shares, and those that no controller is behind: ConfigMap and Service."""

from __future__ import annotations

from typing import Any

from asrtune_api import API_VERSION
from asrtune_operator.values.names import (
    ATTEMPT,
    KIND,
    MANAGED_BY,
    MANAGER,
    QUEUE_NAME,
    RUN,
    RUN_SPEC,
    RUN_UID,
    STAGE,
    label_value,
)
from asrtune_operator.values.places import RENDEZVOUS_PORT, RUN_KEY
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

Json = dict[str, Any]


def run_labels(run: Run) -> dict[str, str]:
    """Labels of everything of a run."""
    return {
        MANAGED_BY: MANAGER,
        KIND: run.identity.kind,
        RUN: label_value(run.identity.name),
        RUN_UID: run.identity.uid,
        RUN_SPEC: run.spec_name,
    }


def labels(run: Run, unit: Unit, attempt: int) -> dict[str, str]:
    """Labels of an attempt's workload and of its pods."""
    return {**run_labels(run), STAGE: unit.key, ATTEMPT: str(attempt)}


def metadata(run: Run, name: str, own_labels: dict[str, str]) -> Json:
    """Metadata of an object that the run owns.

    blockOwnerDeletion is off: to set it, the operator would need the right to update the runs' finalizers, and a
    deletion in the foreground waits for the pods through the workloads' own references anyway.
    """
    owner = {
        "apiVersion": API_VERSION,
        "kind": run.identity.kind,
        "name": run.identity.name,
        "uid": run.identity.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": run.identity.namespace,
        "labels": own_labels,
        "ownerReferences": [owner],
    }


def workload_metadata(run: Run, unit: Unit, attempt: int) -> Json:
    """Metadata of an attempt's workload; Kueue finds its queue there."""
    queue = {QUEUE_NAME: run.queue} if run.queue else {}
    return metadata(run, run.workload_name(unit, attempt), {**labels(run, unit, attempt), **queue})


def config_map(run: Run) -> Json:
    """The RunSpec."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(run, run.spec_name, run_labels(run)),
        "immutable": True,
        "data": {RUN_KEY: run.document},
    }


def service(run: Run) -> Json:
    """Headless: makes the host names of a run's pods known. One for all attempts: no two pods share a host name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(run, run.spec_name, run_labels(run)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {RUN_SPEC: run.spec_name},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
        },
    }
