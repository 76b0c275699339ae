"""The pod template that all backends share."""

from __future__ import annotations

from typing import Any, Final

from asrtune_operator.render.manifests import labels
from asrtune_operator.render.placement import placement
from asrtune_operator.render.resources import resources
from asrtune_operator.render.volumes import volumes
from asrtune_operator.values.names import ATTEMPT, GPUS, RUN_UID, STAGE
from asrtune_operator.values.places import RENDEZVOUS_PORT, RUN_FILE, SCRATCH_DIR, TERMINATION_LOG
from asrtune_operator.values.run import Run
from asrtune_operator.values.units import Unit

Json = dict[str, Any]

CONTAINER: Final = "pytorch"
"""Name of the one container: training-operator wants it so."""
RANK_VARIABLE: Final = "$(ASRTUNE_RANK)"
ATTEMPT_VARIABLE: Final = "$(ASRTUNE_ATTEMPT)"
"""In arguments: the kubelet puts in what the pod's labels say."""
LAST_WORDS_SECONDS: Final = 15
"""Between the grace period, in which a checkpoint is saved, and the kubelet's SIGKILL: to say that it was not."""


def pod_template(
    run: Run, unit: Unit, attempt: int, *, rank_label: str, leader: str, subdomain: str | None = None
) -> Json:
    """Template of the pods of an attempt, which differ only by rank.

    Args:
        run: the run.
        unit: the unit.
        attempt: its number.
        rank_label: the label in which the controller tells a pod its rank.
        leader: host name of the pod with rank 0; `ATTEMPT_VARIABLE` in it becomes the attempt's number.
        subdomain: name of the headless Service that makes the pods' host names known, where the controller has none.
    """
    pod = run.runtime.pod
    own = labels(run, unit, attempt)
    gang = {key: own[key] for key in (RUN_UID, STAGE)}
    pod_volumes, mounts = volumes(run, unit)
    container = {
        "name": CONTAINER,
        "image": run.image,
        "command": ["asrtune", "execute", RUN_FILE],
        "args": _arguments(run, unit, leader),
        "env": _environment(run, unit, rank_label),
        "ports": _ports(run, unit),
        "resources": resources(run, unit),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "workingDir": SCRATCH_DIR,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": run.policy.grace_period_seconds + LAST_WORDS_SECONDS,
        "securityContext": _security(run),
        **({"subdomain": subdomain} if subdomain else {}),
        **placement(run, unit, gang),
        **(
            {"imagePullSecrets": [{"name": one.name} for one in secrets]}
            if (secrets := pod.image_pull_secrets)
            else {}
        ),
        "containers": [container],
        "volumes": pod_volumes,
    }
    metadata = {"labels": {**pod.labels, **own}, "annotations": {**pod.annotations, GPUS: str(unit.gpus)}}
    return {"metadata": metadata, "spec": spec}


def _arguments(run: Run, unit: Unit, leader: str) -> list[str]:
    gang = (
        [f"--node-rank={RANK_VARIABLE}", f"--rendezvous={leader}:{RENDEZVOUS_PORT}"] if unit.nodes > 1 else []
    )
    return [
        f"--start-at={unit.stages[0]}",
        f"--stop-after={unit.stages[-1]}",
        *gang,
        f"--run-uid={run.identity.uid}",
        f"--namespace={run.identity.namespace}",
        f"--attempt={ATTEMPT_VARIABLE}",
        f"--grace-period={run.policy.grace_period_seconds}",
        f"--workdir={SCRATCH_DIR}",
        f"--termination-log={TERMINATION_LOG}",
    ]


def _environment(run: Run, unit: Unit, rank_label: str) -> list[Json]:
    written = {"HOME": SCRATCH_DIR, **(run.runtime.nccl.environment() if unit.nodes > 1 else {})}
    written |= {one.name: one.value for one in run.runtime.pod.env}
    told = {ATTEMPT_VARIABLE[2:-1]: ATTEMPT, **({RANK_VARIABLE[2:-1]: rank_label} if unit.nodes > 1 else {})}
    fields = {
        name: {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}} for name, label in told.items()
    }
    return [
        *({"name": name, "valueFrom": source} for name, source in fields.items()),
        *({"name": name, "value": value} for name, value in written.items() if name not in fields),
    ]


def _ports(run: Run, unit: Unit) -> list[Json]:
    ports = {"telemetry": run.spec.telemetry.port, "rendezvous": RENDEZVOUS_PORT if unit.nodes > 1 else None}
    return [{"name": name, "containerPort": port} for name, port in ports.items() if port]


def _security(run: Run) -> Json:
    """What the Pod Security level `restricted` asks of a pod; its container's part stands with the container.

    A volume whose root has the group already is not walked through again at each start.
    """
    pod = run.runtime.pod
    group = {"fsGroup": pod.fs_group, "fsGroupChangePolicy": "OnRootMismatch"} if pod.fs_group else {}
    user = {"runAsUser": pod.run_as_user} if pod.run_as_user else {}
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **user, **group}
