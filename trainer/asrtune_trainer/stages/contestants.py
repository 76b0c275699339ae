"""The models that Evaluate decodes with: where their weights come from, and what identifies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from asrtune_api.finetune import ModelRef
from asrtune_api.runspec import Candidate
from asrtune_api.stages import EvaluateParams
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.directory import load_strictly, read_weights
from asrtune_trainer.models.load import load_model
from asrtune_trainer.scoring.results import BASE, FINETUNED
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.model_input import (
    base_reference,
    model_digest,
    model_directory,
    reference_digest,
)
from asrtune_trainer.stages.other_run import run_model, stage_weights


@dataclass(frozen=True)
class Weights:
    """Weights that take the place of a model directory's own."""

    digest: str
    fetch: Callable[[], Path]
    """Their file on this machine."""


@dataclass(frozen=True)
class Contestant:
    """A model under the name that results give it."""

    name: str
    label: str
    """What it is, for people."""
    model: ModelRef
    digest: str
    """Of all that its transcripts depend on."""
    weights: Weights | None = None

    def load(self, context: StageContext, device: torch.device) -> SpeechModel:
        """The model on the device, in evaluation mode.

        Raises:
            SpecInvalidError: there is no such model, or the weights are not of it.
        """
        loaded = load_model(model_directory(context, self.model), device=device, seed=context.run.seed)
        if self.weights is not None:
            path = self.weights.fetch()
            load_strictly(loaded.module, read_weights(path), path)
        return loaded


def contestants_of(context: StageContext) -> list[Contestant]:
    """The comparison's candidates, or the base and what the chain trained from it.

    Raises:
        SpecInvalidError: a candidate's run, stage or checkpoint is not there.
    """
    if context.run.comparison is not None:
        return [_candidate(context, one) for one in context.run.comparison.candidates]
    base, digest = base_reference(context), model_digest(context)
    trained = [one for one in context.upstream.values() if "model" in one.outputs]
    found = []
    if context.params(EvaluateParams).baseline or not trained:
        found.append(Contestant(BASE, "base", base, digest))
    if trained:
        last = trained[-1]
        weights = Weights(last.digest, lambda: last.path("model"))
        found.append(Contestant(FINETUNED, "fine-tuned", base, f"{digest}+{weights.digest}", weights))
    return found


def baseline_of(context: StageContext, contestants: Sequence[Contestant]) -> str | None:
    """Name of the model that the others are compared with, where it is among them."""
    comparison = context.run.comparison
    name = BASE if comparison is None else comparison.baseline
    return name if any(one.name == name for one in contestants) else None


def _candidate(context: StageContext, candidate: Candidate) -> Contestant:
    made = candidate.made_by
    if made is None:
        assert candidate.model is not None  # one of both is set
        digest = reference_digest(context, candidate.model)
        return Contestant(candidate.name, candidate.label, candidate.model, digest)
    where = f"spec.models[{candidate.name}].finetune"
    model = run_model(context.stores, made, where)
    stored = stage_weights(context.stores, made, where)
    weights = Weights(stored.sha256, lambda: stored.fetch(context.stores, context.scratch))
    digest = f"{reference_digest(context, model)}+{weights.digest}"
    return Contestant(candidate.name, candidate.label, model, digest, weights)
