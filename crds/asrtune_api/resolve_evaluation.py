"""From an ASREvaluation to a RunSpec: Prepare for the test data, Evaluate for all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asrtune_api.compared import Finetunes, candidate, known_finetune, published_model
from asrtune_api.errors import SpecInvalidError
from asrtune_api.evaluation import ASREvaluation, EvaluationSpec
from asrtune_api.evaluation_rules import MAX_PAIRS
from asrtune_api.finetune import TestSource
from asrtune_api.gate import GateAction, QualityGate
from asrtune_api.layers import Layer, decide, defaults, merge, said
from asrtune_api.resolve import LAPTOP, Place, derived_layers, gate_decisions, runtime_layer
from asrtune_api.resolve_stages import checked
from asrtune_api.runspec import Candidate, Decision, Origin, RunSpec
from asrtune_api.runtime import Runtime
from asrtune_api.stages import EvaluateParams, PrepareParams, StageSpec, StageType
from asrtune_api.suggest import did_you_mean
from asrtune_api.uris import absolute_uri

_PREPARE: Final = "prepare"
_EVALUATE: Final = "evaluate"
_FIELDS: Final = (
    "name",
    "seed",
    "output",
    "data",
    "storage",
    "telemetry",
    "trust_remote_code",
    "gpu_price_per_hour",
)
"""Fields of the RunSpec that a user, a runtime or a default decides; the rest follows."""
_ABSENT: Final = ("data.train", "data.validation")
_MANIFEST_PATHS: Final = {
    "name": "metadata.name",
    "output": "spec.output.uri",
    "data.maxRejectedPercent": "spec.maxRejectedPercent",
}


def resolve_evaluation(
    evaluation: ASREvaluation,
    runtime: Runtime | None = None,
    finetunes: Finetunes | None = None,
    *,
    base: str | None,
    place: Place = LAPTOP,
) -> RunSpec:
    """Decide everything. Pure.

    Args:
        evaluation: the manifest. Only fields that were set in it count as the user's word.
        runtime: the platform team's half, if there is one.
        finetunes: the ASRFinetunes of the namespace by name, with their status, at least those that
            `finetunes_of` names; None where there is no cluster to ask.
        base: what relative paths start from, as for `resolve`.
        place: where the evaluation will happen.

    Raises:
        NotReadyError: a finetune that is named does not exist yet, or has not made the model yet.
        SpecInvalidError: a name leads nowhere, a path is relative on a cluster, or a finetune is named without one.
    """
    spec = evaluation.spec
    sets = _test_sets(spec, finetunes, base)
    _check(spec, sets)
    candidates = [candidate(one, finetunes, base) for one in spec.models]
    stages, stage_decisions = _stages(spec)
    gpus = spec.resources.gpus
    layers = [
        Layer(
            Origin.DEFAULT, lambda _: "default of EvaluationSpec", {"seed": defaults(EvaluationSpec)["seed"]}
        ),
        *derived_layers(spec.storage, gpus, runtime, place),
        *([runtime_layer(spec.storage, runtime)] if runtime else []),
        _by_user(evaluation, sets, base),
    ]
    apart = [name for name in RunSpec.model_fields if name not in _FIELDS]
    values, decisions = merge(RunSpec, layers, skip=apart)
    decisions = [one for one in decisions if one.path not in _ABSENT]
    gate = spec.quality_gate
    document = {
        **values,
        "checkpoint": {},
        "gang": {"gpus_per_node": gpus},
        "stages": stages,
        "comparison": {
            "candidates": candidates,
            "baseline": spec.baseline,
            "judged": gate.models if gate else [],
            "human": [said(one) for one in spec.human_reference],
        },
        "quality_gate": QualityGate(criteria=gate.criteria, on_failure=GateAction.REPORT) if gate else None,
        "decisions": [
            *decisions,
            *_model_decisions(candidates, spec),
            *gate_decisions(gate),
            *stage_decisions,
        ],
    }
    run = checked(RunSpec, document, "")
    _check_output(run, candidates)
    return run


def finetunes_of(spec: EvaluationSpec) -> list[str]:
    """Names of the ASRFinetunes that an evaluation depends on."""
    named = [one.finetune.name for one in spec.models if one.finetune and one.finetune.name]
    return list(dict.fromkeys([*named, *([spec.test_sets_from.name] if spec.test_sets_from else [])]))


def _test_sets(spec: EvaluationSpec, finetunes: Finetunes | None, base: str | None) -> list[TestSource]:
    """The test sets with absolute URIs.

    Raises:
        SpecInvalidError: as `resolve_evaluation`; or the finetune has no test set.
    """
    if spec.test_sets is not None:
        return [_absolute(one, base, f"spec.testSets[{one.name}].uri") for one in spec.test_sets]
    assert spec.test_sets_from is not None  # a rule of the spec
    name = spec.test_sets_from.name
    remedy = "Without a cluster, write the test sets under spec.testSets."
    finetune = known_finetune(name, finetunes, "spec.testSetsFrom.name", remedy)
    if not finetune.spec.data.test:
        raise SpecInvalidError(
            f"ASRFinetune {name} has no test set.",
            where="spec.testSetsFrom.name",
            remedy="Write test sets under spec.testSets.",
            reason="TestSetsMissing",
        )
    where = f"spec.testSetsFrom: ASRFinetune {name}, spec.data.test"
    return [_absolute(one, base, f"{where}[{one.name}].uri") for one in finetune.spec.data.test]


def _absolute(source: TestSource, base: str | None, where: str) -> TestSource:
    return source.model_copy(update={"uri": absolute_uri(source.uri, base, where=where)})


def _check(spec: EvaluationSpec, sets: Sequence[TestSource]) -> None:
    """What no schema can check where another object holds the test sets.

    Raises:
        SpecInvalidError: a criterion or a human reference names no test set, or there are too many.
    """
    names = [one.name for one in sets]
    wanted = [("spec.humanReference", one.set) for one in spec.human_reference]
    criteria = spec.quality_gate.criteria if spec.quality_gate else ()
    wanted += [("spec.qualityGate.criteria", one.set) for one in criteria if one.set is not None]
    for where, name in wanted:
        if name not in names:
            raise SpecInvalidError(
                f'there is no test set "{name}".',
                where=where,
                remedy=did_you_mean(name, names, what="test sets"),
                reason="SetUnknown",
            )
    if len(names) * len(spec.models) > MAX_PAIRS:
        raise SpecInvalidError(
            f"{len(spec.models)} models on {len(names)} test sets are more than {MAX_PAIRS} results.",
            where="spec.models",
            remedy="Make two evaluations of it, or name the test sets under spec.testSets.",
            reason="TooManyResults",
        )


def _check_output(run: RunSpec, candidates: Sequence[Candidate]) -> None:
    """An evaluation in the output of a run would overwrite the run's own files.

    Raises:
        SpecInvalidError: if that is so.
    """
    for one in candidates:
        lies_there = one.model is not None and one.model.uri == published_model(run.output)
        if lies_there or (
            one.made_by is not None and one.made_by.output.rstrip("/") == run.output.rstrip("/")
        ):
            raise SpecInvalidError(
                f"this is the output of the run that made the model {one.name}, whose files would be overwritten.",
                where="spec.output.uri",
                remedy="Choose a place of its own.",
                reason="OutputInUse",
            )


def _stages(spec: EvaluationSpec) -> tuple[list[StageSpec], list[Decision]]:
    own = Layer(Origin.USER, lambda at: at.replace("stages.evaluate", "spec.scoring", 1), said(spec.scoring))
    prepare, decisions = merge(PrepareParams, [], f"stages.{_PREPARE}")
    evaluate, more = merge(EvaluateParams, [own], f"stages.{_EVALUATE}", skip=("baseline",))
    stages: list[Mapping[str, Any]] = [
        {"name": _PREPARE, "type": StageType.PREPARE, "prepare": prepare},
        {"name": _EVALUATE, "type": StageType.EVALUATE, "evaluate": evaluate},
    ]
    return [checked(StageSpec, one, f"stage {one['name']}") for one in stages], [*decisions, *more]


def _by_user(evaluation: ASREvaluation, sets: Sequence[TestSource], base: str | None) -> Layer:
    spec = evaluation.spec
    storage = said(spec.storage, without=("secret_ref",))
    data: dict[str, Any] = {"test": [said(one) for one in sets]}
    if spec.says("max_rejected_percent"):
        data["max_rejected_percent"] = spec.max_rejected_percent
    values: dict[str, Any] = {
        "name": evaluation.metadata.name,
        "output": absolute_uri(spec.output.uri, base, where="spec.output.uri"),
        "data": data,
        "storage": storage,
        **({"seed": spec.seed} if spec.says("seed") else {}),
    }
    source = "spec.testSetsFrom" if spec.test_sets is None else "spec.testSets"
    return Layer(Origin.USER, lambda path: _manifest_path(path, source), values)


def _manifest_path(path: str, source: str) -> str:
    return _MANIFEST_PATHS.get(path, f"spec.{path}".replace("spec.data.test", source, 1))


def _model_decisions(candidates: Sequence[Candidate], spec: EvaluationSpec) -> list[Decision]:
    found = [
        decide(f"comparison.candidates.{one.name}", one.label, Origin.USER, f"spec.models[{one.name}]")
        for one in candidates
    ]
    baseline = (
        [decide("comparison.baseline", spec.baseline, Origin.USER, "spec.baseline")] if spec.baseline else []
    )
    return [*found, *baseline]
