"""A small ASREvaluation, and ways to spoil it: the same list for the laptop and for the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.manifests import DELETE, Refused, changed

MINIMAL: dict[str, Any] = {
    "apiVersion": "asrtune.dev/v1alpha1",
    "kind": "ASREvaluation",
    "metadata": {"name": "check"},
    "spec": {
        "models": [
            {"name": "base", "hub": "iic/SenseVoiceSmall"},
            {"name": "tuned", "uri": "runs/demo/model"},
            {"name": "early", "finetune": {"uri": "runs/demo", "stage": "train", "step": 300}},
        ],
        "baseline": "base",
        "testSets": [
            {"name": "calls", "uri": "data/calls.jsonl"},
            {"name": "studio", "uri": "data/studio.jsonl", "retention": True},
        ],
        "output": {"uri": "runs/check"},
    },
}


def evaluation(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The minimal evaluation with changes, as `tools.manifests.manifest` has them."""
    return changed(MINIMAL, changes or {})


def gate(*criteria: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Changes that give a quality gate."""
    return {"qualityGate": {"criteria": list(criteria), **more}}


MANY = [{"name": f"s{number}", "uri": f"{number}.jsonl"} for number in range(11)]
REFUSED = [
    Refused("model-twice", {"models.0.uri": "base"}, "set exactly one of finetune"),
    Refused("model-of-nothing", {"models.0.hub": DELETE}, "set exactly one of finetune"),
    Refused("finetune-and-hub", {"models.2.hub": "iic/x"}, "set exactly one of finetune"),
    Refused("revision-of-directory", {"models.1.revision": "v1"}, "revision belongs to a hub name"),
    Refused("model-on-http", {"models.1.uri": "https://host/model"}, "uri must be a path"),
    Refused("finetune-twice", {"models.2.finetune.name": "demo"}, "set exactly one of name"),
    Refused("finetune-of-nothing", {"models.2.finetune.uri": DELETE}, "set exactly one of name"),
    Refused("step-of-no-stage", {"models.2.finetune.stage": DELETE}, "set stage beside it"),
    Refused("step-zero", {"models.2.finetune.step": 0}, "must be at least 1", "greater than or equal to 1"),
    Refused("finetune-on-http", {"models.2.finetune.uri": "http://host/run"}, "uri must be a path"),
    Refused("no-models", {"models": []}, "needs at least 1 item", "should have at least 1 item"),
    Refused(
        "name-twice", {"models.1.name": "base"}, 'more than one item has the name "base"', "Duplicate value"
    ),
    Refused("baseline-nowhere", {"baseline": "bsae"}, "baseline names no model"),
    Refused("no-test-sets", {"testSets": DELETE}, "set exactly one of testSets and testSetsFrom"),
    Refused(
        "test-sets-twice", {"testSetsFrom": {"name": "demo"}}, "set exactly one of testSets and testSetsFrom"
    ),
    Refused("too-many-pairs", {"testSets": MANY}, "at most 32 pairs of model and test set"),
    Refused(
        "people-on-no-set",
        {"humanReference": [{"set": "cals", "percent": "20"}]},
        "humanReference names no test set",
    ),
    Refused(
        "people-twice",
        {"humanReference": [{"set": "calls", "percent": "20"}, {"set": "calls", "percent": "2"}]},
        'more than one item has the set "calls"',
        "Duplicate value",
    ),
    Refused("gate-of-nothing", gate(), "needs at least 1 item", "should have at least 1 item"),
    Refused("gate-without-limit", gate({"set": "calls"}), "set exactly one of maxPercent"),
    Refused(
        "gate-with-two-limits",
        gate({"maxPercent": "9", "maxIncreasePercent": "0"}),
        "set exactly one of maxPercent",
    ),
    Refused(
        "gate-on-no-set", gate({"set": "cals", "maxPercent": "9"}), "qualityGate.criteria names no test set"
    ),
    Refused(
        "gate-of-no-model", gate({"maxPercent": "9"}, models=["tunde"]), "qualityGate.models names no model"
    ),
    Refused(
        "gate-without-baseline",
        {"baseline": DELETE, **gate({"maxIncreasePercent": "0"})},
        "maxIncreasePercent compares with the baseline",
    ),
    Refused("gate-by-words", gate({"metric": "WER", "maxPercent": "9"}), "metric must be what is scored"),
    Refused(
        "gate-by-characters",
        {"scoring": {"unit": "Word"}, **gate({"maxPercent": "9"})},
        "metric must be what is scored",
    ),
    Refused("limit-float", gate({"maxPercent": 9.5}), 'write "9.5" in quotes', "must be of type string"),
    Refused("limit-minus", gate({"maxPercent": "-1"}), "must be at least 0"),
    Refused("gate-action", gate({"maxPercent": "9"}, onFailure="Report"), "unknown field", "unknown field"),
    Refused("two-gpus", {"resources": {"gpus": 2}}, "must be at most 1", "less than or equal to 1"),
    Refused(
        "topology",
        {"execution": {"topology": {"spreadOverHosts": True}}},
        "an evaluation has one pod",
    ),
    Refused("baseline-parameter", {"scoring": {"baseline": False}}, "unknown field", "unknown field"),
]

ACCEPTED: dict[str, Mapping[str, Any]] = {
    "minimal": {},
    "one-model": {"models": [{"name": "only", "hub": "iic/SenseVoiceSmall"}], "baseline": DELETE},
    "by-name": {"models.1": {"name": "tuned", "finetune": {"name": "demo.v2"}}},
    "mean": {"models.2.finetune": {"uri": "s3://bucket/runs/demo", "stage": "average"}},
    "ten-sets": {"testSets": MANY[:10]},
    "people": {"humanReference": [{"set": "calls", "percent": "20.45"}]},
    "gate": gate(
        {"maxPercent": "9.5"},
        {"set": "studio", "maxIncreasePercent": "0.5", "confident": True},
        {"set": "calls", "maxIncreasePercent": "-2"},
        models=["tuned"],
    ),
    "gate-without-baseline": {"baseline": DELETE, **gate({"maxPercent": "9"})},
    "words": {"scoring": {"unit": "Word", "batchSeconds": 30}, **gate({"metric": "WER", "maxPercent": "9"})},
    "sets-elsewhere": {
        "testSets": DELETE,
        "testSetsFrom": {"name": "demo"},
        "humanReference": [{"set": "known-there", "percent": "1"}],
        **gate({"set": "known-there", "maxPercent": "9"}),
    },
    "policy": {
        "resources": {"gpus": 1, "memory": "8Gi"},
        "runPolicy": {"deadlineSeconds": 3600},
        "execution": {"pods": "Shared"},
        "queueName": "speech",
        "suspend": True,
    },
}
