"""What the images say of themselves, before anything runs."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tools.archives import ROOT, Archive, built

pytestmark = pytest.mark.e2e
PYTHON = {"python_version": "3.11", "python_full_version": "3.11.2"}
NAMES = ("operator", "trainer")


@pytest.fixture(params=NAMES)
def archive(request: pytest.FixtureRequest) -> Archive:
    return built(request.param)


def test_image_says_what_it_is(archive: Archive) -> None:
    labels = {key.rpartition("image.")[2]: value for key, value in archive.config["Labels"].items()}
    assert labels["version"] == version("asrtune")
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"].startswith("asrtune ")
    assert labels["base.name"]


def test_user_is_a_number_and_not_root(archive: Archive) -> None:
    assert archive.user > 0


def test_image_asks_for_no_gpus_of_its_own(archive: Archive) -> None:
    assert "NVIDIA_VISIBLE_DEVICES" not in archive.environment


def test_a_release_changes_a_small_layer(archive: Archive) -> None:
    print(f"\n{archive.image}: {sum(archive.layers) / 1e6:.1f} MB")
    for size, line in zip(archive.layers, archive.made_by, strict=True):
        print(f"  {size / 1e6:8.1f} MB  {line[:100]}")
    assert archive.layers[-1] < 8e6
    assert len(archive.layers) == {"operator": 4, "trainer": 5}[archive.path.name.split("-")[1]]


@pytest.mark.parametrize("name", NAMES)
def test_sbom_is_the_lock(name: str) -> None:
    lock = map(Requirement, (ROOT / f"requirements/{name}.txt").read_text().splitlines())
    wanted = {
        (one.name, str(one.specifier).removeprefix("=="))
        for one in lock
        if one.marker is None or one.marker.evaluate(PYTHON)
    }
    sbom = built(name).sbom
    assert sbom["bomFormat"] == "CycloneDX"
    listed = {(re.sub(r"[-_.]+", "-", one["name"]).lower(), one["version"]) for one in sbom["components"]}
    assert listed == wanted
    about = sbom["metadata"]["component"]
    assert (about["name"], about["version"]) == ("asrtune", version("asrtune"))
    licensed = [one for one in sbom["components"] if one.get("licenses")]
    print(f"\n{name}: {len(listed)} components, {len(licensed)} with a licence")
