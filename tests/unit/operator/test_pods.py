"""The pod template that all backends share: golden files, and the rules behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from asrtune_api.finetune import QUANTITY_PATTERN
from asrtune_operator.render.pods import pod_template
from asrtune_operator.render.quantity import to_bytes, to_millicores
from asrtune_operator.values.names import ATTEMPT, KIND, MANAGED_BY, RUN, RUN_SPEC, RUN_UID, STAGE, shorten
from asrtune_operator.values.places import CREDENTIALS_DIR, POD
from asrtune_operator.values.run import Run
from tools.gangs import EVERYTHING, OWN_VOLUMES, gang_run, unit_of

GANG = {"resources": {"nodes": 2, "gpusPerNode": 8, "cpu": "32", "memory": "200Gi"}}


def template(run: Run, stage: str = "train") -> dict[str, Any]:
    return pod_template(run, unit_of(run, stage), 2, rank_label="rank", leader="leader.example")


def container(run: Run, stage: str = "train") -> dict[str, Any]:
    (only,) = template(run, stage)["spec"]["containers"]
    return dict(only)


def golden(run: Run, stage: str = "train") -> str:
    """As YAML, without the digest of a RunSpec, which has fields that are none of a pod's business."""
    return yaml.safe_dump(template(run, stage), sort_keys=False).replace(run.spec_name, "RUN-SPEC")


def paths(run: Run, stage: str = "train") -> Mapping[str, dict[str, Any]]:
    """Mount path -> volume."""
    spec = template(run, stage)["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    (only,) = spec["containers"]
    return {mount["mountPath"]: volumes[mount["name"]] for mount in only["volumeMounts"]}


def test_smallest_gang(snapshot: SnapshotAssertion) -> None:
    assert golden(gang_run()) == snapshot


def test_gang_of_two_nodes(snapshot: SnapshotAssertion) -> None:
    assert golden(gang_run(GANG, secret="storage")) == snapshot


def test_gang_with_everything(snapshot: SnapshotAssertion) -> None:
    assert golden(gang_run(GANG | OWN_VOLUMES, runtime=EVERYTHING, secret="storage")) == snapshot


@pytest.mark.parametrize("stage", ["prepare", "evaluate"])
def test_stage_that_trains_nothing(stage: str, snapshot: SnapshotAssertion) -> None:
    assert golden(gang_run(GANG, runtime=EVERYTHING, secret="storage"), stage) == snapshot


def test_pods_carry_every_label_the_watch_and_the_files_need() -> None:
    run = gang_run(GANG, runtime=EVERYTHING)
    labels = template(run)["metadata"]["labels"]
    assert labels == {
        "team": "speech",
        MANAGED_BY: "asrtune",
        KIND: "ASRFinetune",
        RUN: "demo",
        RUN_UID: run.identity.uid,
        RUN_SPEC: run.spec_name,
        STAGE: "train",
        ATTEMPT: "2",
    }


def test_no_gpu_for_what_needs_none() -> None:
    run = gang_run(GANG)
    asked = {
        stage: container(run, stage)["resources"] for stage in ("prepare", "train", "evaluate", "publish")
    }
    gpus = {stage: one.get("limits", {}).get("nvidia.com/gpu") for stage, one in asked.items()}
    assert gpus == {"prepare": None, "train": "8", "evaluate": "1", "publish": None}
    assert all("nvidia.com/gpu" not in one["requests"] for stage, one in asked.items() if gpus[stage] is None)


def test_small_stages_ask_for_no_more_than_the_gang() -> None:
    run = gang_run({"resources": {"cpu": "500m", "memory": "2Gi"}})
    assert container(run, "prepare")["resources"] == {"requests": {"cpu": "500m", "memory": "2Gi"}}


@pytest.mark.parametrize(
    ("resources", "runtime", "size"),
    [
        ({"memory": "10Gi", "sharedMemory": "3Gi"}, "5Gi", "3Gi"),
        ({"memory": "10Gi"}, "5Gi", "5Gi"),
        ({"memory": "10Gi"}, None, str(5 * 2**30)),
        ({}, None, None),
    ],
)
def test_shared_memory(resources: dict[str, str], runtime: str | None, size: str | None) -> None:
    pod = {"sharedMemory": runtime} if runtime else {}
    volume = paths(gang_run({"resources": resources}, runtime={"pod": pod}))["/dev/shm"]
    assert volume["emptyDir"] == {"medium": "Memory"} | ({"sizeLimit": size} if size else {})


def test_a_run_mounts_over_its_runtime_and_both_over_ours() -> None:
    run = gang_run(GANG | OWN_VOLUMES, runtime=EVERYTHING)
    found = {
        path: volume.get("persistentVolumeClaim", {}).get("claimName") for path, volume in paths(run).items()
    }
    assert found == {
        "/etc/asrtune/run": None,
        "/tmp": "big-tmp",
        "/scratch": None,
        "/dev/shm": None,
        "/cache": "shared-cache",
        "/corpus": "corpus",
    }
    assert len(template(run)["spec"]["volumes"]) == len(found)


def test_credentials_lie_where_the_run_spec_says() -> None:
    changes = {"storage": {"secretRef": {"name": "storage"}}}
    run = gang_run(changes, secret="storage")
    assert run.spec.storage.credentials_dir == CREDENTIALS_DIR == POD.credentials_dir
    assert paths(run)[CREDENTIALS_DIR]["secret"] == {"secretName": "storage"}


def test_a_runtime_cannot_say_who_a_pod_is() -> None:
    env = {one["name"]: one for one in container(gang_run(GANG, runtime=EVERYTHING))["env"]}
    assert env["ASRTUNE_RANK"] == {
        "name": "ASRTUNE_RANK",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['rank']"}},
    }
    assert len(env) == len(container(gang_run(GANG, runtime=EVERYTHING))["env"])


def test_a_loss_of_the_node_is_noticed_soon_unless_the_runtime_says_otherwise() -> None:
    run = gang_run(GANG, runtime=EVERYTHING)
    seconds = {one["key"]: one.get("tolerationSeconds") for one in template(run)["spec"]["tolerations"]}
    assert seconds == {
        "gpu": None,
        "node.kubernetes.io/unreachable": 600,
        "node.kubernetes.io/not-ready": 30,
    }


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True))
def test_quantities(quantity: str) -> None:
    match = re.fullmatch(r"([0-9]+)(?:([KMGT])i)?", quantity.strip())
    assert match is not None
    assert to_bytes(quantity.strip()) == int(match[1]) * 1024 ** " KMGT".index(match[2] or " ")


def test_millicores() -> None:
    assert [to_millicores(one) for one in ("2", "500m", "0")] == [2000, 500, 0]


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True), st.integers(20, 63))
def test_shortened_names_suit_services(name: str, length: int) -> None:
    short = shorten(name, length)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", short)
    assert len(short) <= length


def test_shortened_names_stay_apart() -> None:
    names = ["8k", "n8k", "a.b", "a-b", "x" * 64, "x" * 65]
    assert len({shorten(name, 30) for name in names}) == len(names)
