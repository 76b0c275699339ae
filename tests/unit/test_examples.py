"""What examples promise that needs no cluster: CI templates fit their schemas, Argo CD's Lua says the right thing."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from tools.statuses import STATUSES, SUCCEEDED, run

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
GITOPS = ROOT / "examples/manifests/gitops"
CI = ROOT / "examples/ci"
KINDS = ("ASRFinetune", "ASREvaluation")


def health(script: str, document: Json) -> tuple[str, str]:
    """What Argo CD would show: its Lua is 5.1 (gopher-lua), and a health check gets the language without libraries."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    for name in (
        "string",
        "math",
        "io",
        "os",
        "debug",
        "coroutine",
        "package",
        "python",
        "require",
        "dofile",
    ):
        lua.globals()[name] = None
    lua.globals().obj = as_table(lua, document)
    found = lua.execute(script)
    return str(found.status), str(found.message)


def as_table(lua: lua51.LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: as_table(lua, one) for key, one in value.items()})
    if isinstance(value, list):
        return lua.table_from([as_table(lua, one) for one in value])
    return value


def scripts() -> dict[str, str]:
    data = yaml.safe_load((GITOPS / "argocd-cm.yaml").read_text())["data"]
    return {kind: data[f"resource.customizations.health.asrtune.dev_{kind}"] for kind in KINDS}


def test_argocd_gets_the_tested_lua() -> None:
    assert set(scripts().values()) == {(GITOPS / "health.lua").read_text()}


def judged(status: Json) -> tuple[str, str]:
    [script] = set(scripts().values())
    return health(script, run(status))


def not_passed() -> Json:
    done = copy.deepcopy(SUCCEEDED)
    gate = next(one for one in done["conditions"] if one["type"] == "QualityGatePassed")
    gate |= {"status": "False", "reason": "AboveMaximum", "message": "CER is 8.1 %, above the limit of 5 %."}
    return done


@pytest.mark.parametrize(
    ("status", "wanted", "words"),
    [
        (STATUSES["new"], "Progressing", "Waiting for the operator."),
        (STATUSES["pending"], "Progressing", "train waits for 2 nodes"),
        (STATUSES["running"], "Progressing", "2 pods, 16 GPUs"),
        (STATUSES["suspended"], "Suspended", "no GPUs are held"),
        (STATUSES["failed"], "Degraded", "OutOfMemory: The GPU ran out of memory in step 12. Lower"),
        (STATUSES["succeeded"], "Healthy", "CER 8.1 % on calls"),
        (not_passed(), "Degraded", "The quality gate has not passed. CER is 8.1 %"),
        ({**SUCCEEDED, "observedGeneration": 0}, "Progressing", "Waiting for the operator."),
    ],
)
def test_health_in_argocd(status: Json, wanted: str, words: str) -> None:
    found, message = judged(status)
    assert found == wanted
    assert words in message


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.gitlab-ci", "gitlab-ci.yml"), ("vendor.github-workflows", "github-actions.yaml")],
)
def test_ci_template_fits_its_schema(schema: str, file: str, tmp_path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*check, CI / file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / file
    broken.write_text((CI / file).read_text().replace("runs-on:", "run-on:").replace("when:", "wen:"))
    assert subprocess.run([*check, broken], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("directory", [CI, GITOPS.parent])
def test_readme_names_every_file(directory: Path) -> None:
    text = (directory / "README.md").read_text()
    assert [one.name for one in directory.iterdir() if one.name != "README.md" and one.name not in text] == []
