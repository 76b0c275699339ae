"""One per cent of broken lines is listed and left out; half of them stops the run within seconds, exit 65."""

import json

from tools.broken_data import make_broken_data
from tools.project import make_project


def break_training_list(project, *, lines, percent):
    broken = make_broken_data(project.root / "broken", lines=lines, percent=percent)
    project.spec["data"]["train"] = [{"name": "calls", "uri": str(broken.train)}]
    project.write()
    return broken


def rejects(project):
    return [
        json.loads(line)
        for line in (project.output / "stages/prepare/rejects.jsonl").read_text().splitlines()
    ]


def test_one_per_cent_is_listed_and_the_run_finishes(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Train", "Average"))
    project.stage("train").update(epochs=1, maxSteps=3, batch={"unit": "Frames", "size": 6000})
    broken = break_training_list(project, lines=1000, percent=1)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    found = [one for one in rejects(project) if one["set"] == "train/calls"]
    assert {one["line"] for one in found} == set(broken.broken)
    assert all(one["reason"] == broken.broken[one["line"]] and one["remedy"] for one in found)
    metrics = json.loads((project.output / "stages/prepare/manifest.json").read_text())["metrics"]
    assert metrics["lines"] == metrics["utterances"] + metrics["rejected"]
    assert metrics["rejected"] == len(broken.broken)


def test_half_stops_the_run(tmp_path):
    project = make_project(tmp_path, chain=("Prepare", "Train"))
    break_training_list(project, lines=2000, percent=50)
    done = project.run()
    assert done.returncode == 65, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "rejects.jsonl" in done.stderr
    assert rejects(project)
    assert not (project.output / "stages/prepare/manifest.json").exists()
    assert not (project.output / "stages/train").exists()
