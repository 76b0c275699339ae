"""A small manifest, and ways to spoil it: the same list for the laptop and for the API server."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DELETE = object()
MINIMAL: dict[str, Any] = {
    "apiVersion": "asrtune.dev/v1alpha1",
    "kind": "ASRFinetune",
    "metadata": {"name": "demo"},
    "spec": {
        "model": {"uri": "base"},
        "data": {
            "train": [{"name": "clean", "uri": "data/train.jsonl"}],
            "validation": [{"name": "dev", "uri": "data/dev.jsonl"}],
        },
        "recipe": {"preset": "telephone-8k"},
        "output": {"uri": "runs/demo"},
    },
}
STAGES = [
    {"name": "prepare", "type": "Prepare"},
    {"name": "train", "type": "Train", "train": {"epochs": 3}},
    {"name": "publish", "type": "Publish"},
]


def manifest(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The minimal manifest with changes: path below spec (list indices as numbers) -> value or DELETE."""
    return changed(MINIMAL, changes or {})


def changed(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Another manifest with changes of that form."""
    document = copy.deepcopy(dict(document))
    for path, value in changes.items():
        here: Any = document["spec"]
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            here = here[part] if isinstance(here, list) else here.setdefault(part, {})
        if value is DELETE:
            del here[last]
        elif isinstance(here, list) and last == len(here):
            here.append(value)
        else:
            here[last] = value
    return document


def override(stage: str, **params: Any) -> dict[str, Any]:
    """Changes that override a stage whose parameters stand under its own name."""
    return {"recipe.overrides": [{"name": stage, stage: params}]}


def chain(**changes: Any) -> dict[str, Any]:
    """Changes that give the stages themselves."""
    return {"recipe": DELETE, "stages": copy.deepcopy(STAGES)} | changes


@dataclass(frozen=True)
class Refused:
    """A manifest that must be refused.

    Attributes:
        name: of the case.
        changes: what spoils the minimal manifest.
        words: what the message says on a laptop.
        server: what the API server says, where it has words of its own.
    """

    name: str
    changes: Mapping[str, Any]
    words: str
    server: str = ""

    @property
    def server_words(self) -> str:
        return self.server or self.words


REFUSED = [
    # Rules over several fields: the same words on both sides.
    Refused("model-twice", {"model.hub": "iic/SenseVoiceSmall"}, "set exactly one of uri"),
    Refused(
        "volumes-over-each-other",
        {"volumes": [{"name": n, "claim": "c", "mountPath": "/data"} for n in ("a", "b")]},
        "two volumes have the same mountPath",
    ),
    Refused(
        "volume-over-our-own",
        {"volumes": [{"name": "a", "claim": "c", "mountPath": "/etc/asrtune/run"}]},
        "mountPath must not lie in",
    ),
    Refused(
        "shared-gang",
        {"execution": {"pods": "Shared"}, "resources": {"nodes": 2}},
        "pods: Shared is for one node",
    ),
    Refused(
        "topology-of-one",
        {"execution": {"topology": {"spreadOverHosts": True}}},
        "needs resources.nodes > 1",
    ),
    Refused(
        "empty-topology",
        {"execution": {"topology": {}}, "resources": {"nodes": 2}},
        "an empty topology asks for nothing",
    ),
    Refused("no-model", {"model": {}}, "set exactly one of uri"),
    Refused("revision-of-directory", {"model.revision": "v1"}, "revision belongs to a hub name"),
    Refused(
        "model-on-http", {"model.uri": "https://host/model"}, "uri must be a path, file:///path or s3://"
    ),
    Refused("list-on-http", {"data.train.0.uri": "http://host/list"}, "uri must be a path"),
    Refused("list-without-bucket", {"data.validation.0.uri": "s3:///list"}, "uri must be a path"),
    Refused("output-elsewhere", {"output.uri": "gs://bucket/x"}, "uri must be a path"),
    Refused("recipe-and-stages", {"stages": STAGES}, "set exactly one of recipe (a preset) and stages"),
    Refused(
        "neither-recipe-nor-stages", {"recipe": DELETE}, "set exactly one of recipe (a preset) and stages"
    ),
    Refused("start-nowhere", chain(startAt="trian"), "startAt names no stage"),
    Refused("stop-nowhere", chain(stopAfter="x"), "stopAfter names no stage"),
    Refused(
        "parameters-of-another-type",
        chain(**{"stages.1.prepare": {}}),
        "parameters must stand under the key of the stage's own type",
    ),
    Refused(
        "override-of-another-type",
        {"recipe.overrides": [{"name": "train", "type": "Train", "export": {}}]},
        "parameters must stand under the key of the stage's own type",
    ),
    Refused(
        "lengths-crossed",
        override("prepare", minMilliseconds=500, maxMilliseconds=500),
        "minMilliseconds must be less than maxMilliseconds",
    ),
    Refused("band-crossed", override("simulate", lowHz=3000, highHz=300), "lowHz must be less than highHz"),
    Refused(
        "snr-crossed",
        override("simulate", snrDbMin="25.5", snrDbMax="25"),
        "snrDbMin must not be greater than snrDbMax",
    ),
    Refused(
        "more-processes-than-gpus",
        {"resources": {"gpusPerNode": 2, "processesPerNode": 3}},
        "processesPerNode must not exceed gpusPerNode",
    ),
    # Names are unique.
    Refused(
        "source-twice",
        {"data.train.1": {"name": "clean", "uri": "more.jsonl"}},
        'more than one item has the name "clean"',
        "Duplicate value",
    ),
    Refused(
        "stage-twice",
        chain(**{"stages.3": {"name": "train", "type": "Train"}}),
        'more than one item has the name "train"',
        "Duplicate value",
    ),
    Refused(
        "override-twice",
        {"recipe.overrides": [{"name": "train"}, {"name": "train"}]},
        'more than one item has the name "train"',
        "Duplicate value",
    ),
    # Decimal numbers.
    Refused("rate-zero", override("train", learningRate="0"), "must be greater than 0"),
    Refused("rate-minus", override("train", learningRate="-1e-5"), "must be greater than 0"),
    Refused("clip-minus", override("train", gradientClip="-1"), "must be at least 0"),
    Refused("snr-high", override("simulate", snrDbMax="61"), "must be at most 60"),
    Refused("rate-words", override("train", learningRate="abc"), "is not a decimal number", "should match"),
    Refused("rate-comma", override("train", learningRate="0,1"), "is not a decimal number", "should match"),
    Refused(
        "rate-float",
        override("train", learningRate=0.001),
        'write "0.001" in quotes',
        "must be of type string",
    ),
    Refused("rate-int", override("train", learningRate=1), 'write "1" in quotes', "must be of type string"),
    Refused("rate-long", override("train", learningRate="0." + "0" * 40 + "1"), "longer than 32", "Too long"),
    Refused("rate-huge", override("train", learningRate="1e999"), "too large", "learningRate"),
    # Types, choices, bounds, patterns.
    Refused(
        "epochs-text", override("train", epochs="10"), "is not a whole number", "must be of type integer"
    ),
    Refused("epochs-half", override("train", epochs=1.5), "is not a whole number", "must be of type integer"),
    Refused("epochs-zero", override("train", epochs=0), "must be at least 1", "greater than or equal to 1"),
    Refused("flag-text", {"storage.pathStyle": "yes"}, "neither true nor false", "must be of type boolean"),
    Refused("optimizer", override("train", optimizer="Adm"), "not one of Adam, AdamW", "Unsupported value"),
    Refused("name-case", {"data.train.0.name": "Clean"}, "use lower-case letters", "should match"),
    Refused("memory-unit", {"resources.memory": "16GB"}, "Ki, Mi, Gi or Ti", "should match"),
    Refused("no-train-data", {"data.train": []}, "needs at least 1 item", "should have at least 1 item"),
    Refused("no-output", {"output": DELETE}, "spec.output: is missing", "Required value"),
    Refused("empty-uri", {"output.uri": ""}, "must not be empty", "at least 1 char"),
    Refused("list-not-mapping", {"data.train": {}}, "must be a list", "must be of type array"),
    Refused(
        "wrong-speeds",
        override("simulate", speedPercents=[100, 300]),
        "must be at most 200",
        "less than or equal to 200",
    ),
    Refused("unknown-field", {"data.trian": []}, "unknown field", "unknown field"),
    Refused("snake-case", override("train", learning_rate="1"), "unknown field", "unknown field"),
]

ACCEPTED: dict[str, Mapping[str, Any]] = {
    "minimal": {},
    "stages": chain(startAt="prepare", stopAfter="train"),
    "hub": {"model": {"hub": "iic/SenseVoiceSmall", "revision": "v1", "hubService": "HuggingFace"}},
    "s3": {"data.train.0.uri": "s3://bucket/a/b.jsonl", "output.uri": "s3://bucket"},
    "file": {"data.train.0.uri": "file:///data/a.jsonl"},
    "colon-in-path": {"data.train.0.uri": "data/10:30.jsonl"},
    "override-half-a-range": override("simulate", snrDbMin="20"),
    "override-with-type": {"recipe.overrides": [{"name": "train", "type": "Train", "train": {}}]},
    "decimals": override("train", learningRate="5E-5", weightDecay="0", gradientClip="1.50"),
    "unset-by-null": override("train", maxSteps=None, learningRate=None),
    "resources": {"resources": {"gpusPerNode": 2, "processesPerNode": 2, "memory": "16Gi", "cpu": "500m"}},
    "test-sets": {"data.test": [{"name": "old", "uri": "t.jsonl", "retention": True}]},
    "storage": {
        "storage": {"endpoint": "http://127.0.0.1:9000", "pathStyle": True, "secretRef": {"name": "s3"}}
    },
}
