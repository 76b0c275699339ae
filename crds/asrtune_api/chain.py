"""Rules of a whole chain that no schema can check, because they need the preset's stages."""

from __future__ import annotations

from collections.abc import Sequence

from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import DataSource, FinetuneSpec
from asrtune_api.stages import SimulateParams, Split, StageSpec, StageType, stage_params
from asrtune_api.suggest import did_you_mean


def check_chain(spec: FinetuneSpec, stages: Sequence[StageSpec]) -> None:
    """Check what the manifest says about the chain against the chain.

    Raises:
        SpecInvalidError: startAt or stopAfter names no stage, or they are in the wrong order; a Simulate stage names
            a data source that its splits do not have; or there is a quality gate and no Evaluate stage, or no
            test set that it could judge.
    """
    names = [stage.name for stage in stages]
    for field, name in (("startAt", spec.start_at), ("stopAfter", spec.stop_after)):
        if name is not None and name not in names:
            raise SpecInvalidError(
                f'there is no stage "{name}".',
                where=f"spec.{field}",
                remedy=did_you_mean(name, names, what="stages"),
                reason="StageUnknown",
            )
    start, stop = spec.start_at or names[0], spec.stop_after or names[-1]
    if names.index(start) > names.index(stop):
        raise SpecInvalidError(
            f'nothing would run: startAt "{start}" comes after stopAfter "{stop}".',
            where="spec.startAt",
            remedy=f"The stages run in this order: {', '.join(names)}.",
            reason="StageOrder",
        )
    if spec.quality_gate is not None and not any(stage.type is StageType.EVALUATE for stage in stages):
        raise SpecInvalidError(
            "nothing is measured that a gate could judge: the chain has no Evaluate stage.",
            where="spec.qualityGate",
            remedy="Add an Evaluate stage before Publish, or remove the gate.",
            reason="GateWithoutEvaluate",
        )
    _check_gate_sets(spec)
    for stage in stages:
        params = stage_params(stage)
        if isinstance(params, SimulateParams):
            _check_sources(spec, stage.name, params)


def _check_gate_sets(spec: FinetuneSpec) -> None:
    """A gate that can only fail would be found out after the training has been paid for."""
    judged = {one.name for one in spec.data.test if not one.retention}
    for index, criterion in enumerate(spec.quality_gate.criteria if spec.quality_gate else ()):
        where = f"spec.qualityGate.criteria[{index}].set"
        known = [one.name for one in spec.data.test]
        if criterion.set is not None and criterion.set not in known:
            raise SpecInvalidError(
                f'there is no test set "{criterion.set}" in spec.data.test.',
                where=where,
                remedy=did_you_mean(criterion.set, known, what="test sets"),
                reason="TestSetUnknown",
            )
        if criterion.set is None and not judged:
            raise SpecInvalidError(
                "nothing is measured that this criterion could judge: spec.data.test has no set but retention sets.",
                where=where,
                remedy="Add a test set of the new domain, or name a retention set here.",
                reason="TestSetUnknown",
            )


def _check_sources(spec: FinetuneSpec, stage: str, params: SimulateParams) -> None:
    splits: dict[Split, Sequence[DataSource]] = {
        Split.TRAIN: spec.data.train,
        Split.VALIDATION: spec.data.validation,
    }
    known = [source.name for split in params.splits for source in splits[split]]
    for name in params.sources:
        if name not in known:
            raise SpecInvalidError(
                f'there is no data source "{name}" in {" and ".join(params.splits)}.',
                where=f"stages.{stage}.sources",
                remedy=did_you_mean(name, known, what="sources"),
                reason="SourceUnknown",
            )
