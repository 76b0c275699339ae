"""Where a compared model lies: what a name, a run or a checkpoint stands for."""

from __future__ import annotations

from collections.abc import Mapping

from asrtune_api.errors import NotReadyError, SpecInvalidError
from asrtune_api.evaluation import ComparedModel, FinetuneModel
from asrtune_api.finetune import ASRFinetune, ModelRef
from asrtune_api.runspec import Candidate, StageModel
from asrtune_api.stages import StageType
from asrtune_api.status import StageState, StageStatus
from asrtune_api.suggest import did_you_mean
from asrtune_api.uris import absolute_uri

Finetunes = Mapping[str, ASRFinetune]
"""Name -> the object with its status."""

MODEL_DIRECTORY = "model"
"""Where Publish places the model, below a run's output."""
_MAKES_A_MODEL = (StageType.TRAIN, StageType.AVERAGE)
_DONE = (StageState.SUCCEEDED, StageState.SKIPPED)


def candidate(model: ComparedModel, finetunes: Finetunes | None, base: str | None) -> Candidate:
    """What is decoded for a model of the manifest.

    Raises:
        NotReadyError: its finetune does not exist yet, or has not made it yet.
        SpecInvalidError: its finetune has no such stage, is named without a cluster, or the URI is wrong.
    """
    where = f"spec.models[{model.name}]"
    if model.finetune is None:
        return Candidate(name=model.name, model=_reference(model, base, where))
    made = model.finetune
    where = f"{where}.finetune"
    if made.uri is not None:
        output = absolute_uri(made.uri, base, where=f"{where}.uri")
    else:
        output = _output(made, finetunes, base, where)
    if made.stage is None:
        return Candidate(name=model.name, model=ModelRef(uri=published_model(output)))
    return Candidate(name=model.name, made_by=StageModel(output=output, stage=made.stage, step=made.step))


def published_model(output: str) -> str:
    """URI of the model that a run with this output publishes."""
    return f"{output.rstrip('/')}/{MODEL_DIRECTORY}"


def known_finetune(name: str, finetunes: Finetunes | None, where: str, remedy: str) -> ASRFinetune:
    """The finetune of a name.

    Raises:
        NotReadyError: there is none yet.
        SpecInvalidError: there is no cluster; the remedy is the caller's.
    """
    if finetunes is None:
        raise SpecInvalidError(
            f"ASRFinetune {name} is an object on a cluster, and there is none here.",
            where=where,
            remedy=remedy,
            reason="ClusterNeeded",
        )
    if name not in finetunes:
        raise NotReadyError(
            f"there is no ASRFinetune {name} in this namespace.",
            where=where,
            remedy=f"Create it, or correct the name. {did_you_mean(name, finetunes)}".strip(),
            reason="FinetuneNotFound",
        )
    return finetunes[name]


def _reference(model: ComparedModel, base: str | None, where: str) -> ModelRef:
    if model.uri is not None:
        return ModelRef(uri=absolute_uri(model.uri, base, where=f"{where}.uri"))
    return ModelRef(hub=model.hub, hub_service=model.hub_service, revision=model.revision)


def _output(made: FinetuneModel, finetunes: Finetunes | None, base: str | None, where: str) -> str:
    """The output of the finetune, which has made the model."""
    assert made.name is not None  # a rule of the model
    remedy = "Give the run's output as finetune.uri instead of finetune.name."
    finetune = known_finetune(made.name, finetunes, f"{where}.name", remedy)
    stages = finetune.status.stages if finetune.status else []
    if made.stage is None:
        makers = [one for one in stages if one.type is StageType.PUBLISH]
        lacking = "publishes no model: it has no Publish stage", "Name one of its stages as finetune.stage."
    else:
        makers = [one for one in stages if one.name == made.stage and one.type in _MAKES_A_MODEL]
        names = [one.name for one in stages if one.type in _MAKES_A_MODEL]
        lacking = (
            f'has no Train or Average stage "{made.stage}"',
            did_you_mean(made.stage, names, what="stages"),
        )
    if stages and not makers:
        message, advice = lacking
        raise SpecInvalidError(
            f"ASRFinetune {made.name} {message}.", where=where, remedy=advice, reason="StageUnknown"
        )
    if not any(one.state in _DONE for one in makers):
        raise _not_ready(finetune, makers, where)
    return absolute_uri(finetune.spec.output.uri, base, where=f"ASRFinetune {made.name}, spec.output.uri")


def _not_ready(finetune: ASRFinetune, makers: list[StageStatus], where: str) -> NotReadyError:
    phase = finetune.status.phase if finetune.status else None
    what = f"stage {makers[-1].name}" if makers else "the chain"
    state = f" (it is {phase})" if phase else " (it has not begun)"
    return NotReadyError(
        f"ASRFinetune {finetune.metadata.name} has not finished {what} yet{state}.",
        where=where,
        remedy="The evaluation goes on as soon as it has.",
    )
