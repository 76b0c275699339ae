"""What another run left at its output: the model it began with, and the weights that its stages made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import ModelRef
from asrtune_api.runspec import StageModel, parse_runspec
from asrtune_trainer.stages.manifest import MANIFEST, StageManifest, parse_manifest
from asrtune_trainer.storage import ObjectMissingError, Stores, join_uri, local_path
from asrtune_trainer.train.checkpoint import WEIGHTS, CheckpointManifest

RUN = "run.json"
_CHECKPOINT = "checkpoint/"


@dataclass(frozen=True)
class StoredWeights:
    """A file of weights, and its digest as the manifest beside it says."""

    uri: str
    sha256: str

    def fetch(self, stores: Stores, scratch: Path) -> Path:
        """The file on this machine; a remote one is fetched once."""
        here = local_path(self.uri)
        if here is not None:
            return here
        path = scratch / "weights" / f"{self.sha256}.pt"
        if not path.is_file():
            stores.of(self.uri).download(self.uri, path)
        return path


def run_model(stores: Stores, made: StageModel, where: str) -> ModelRef:
    """The model that the run began with: its directory holds what the weights alone lack.

    Raises:
        SpecInvalidError: there is no run at that output, or one of another version of asrtune.
    """
    uri = join_uri(made.output, RUN)
    try:
        run = parse_runspec(stores.of(uri).read_bytes(uri))
    except ObjectMissingError as error:
        raise SpecInvalidError(
            f"there is no run at {made.output}: it holds no {RUN}.",
            where=where,
            remedy="Give the output URI of a run, the directory that holds its stages.",
            reason="RunNotFound",
        ) from error
    if run.model is None:
        raise SpecInvalidError(
            f"the run at {made.output} is an evaluation, which makes no model.",
            where=where,
            remedy="Give the output URI of a fine-tuning run.",
            reason="RunNotFound",
        )
    return run.model


def stage_weights(stores: Stores, made: StageModel, where: str) -> StoredWeights:
    """The weights that a stage made, or one of its checkpoints.

    Raises:
        SpecInvalidError: the stage is not finished, made no model, or kept no such checkpoint.
    """
    stage = join_uri(made.output, "stages", made.stage)
    if made.step is not None:
        return _checkpoint(stores, made, stage, where)
    manifest = _manifest(stores, stage)
    if manifest is None or "model" not in manifest.outputs:
        state = "not finished" if manifest is None else f"of type {manifest.type}, which makes no model"
        raise SpecInvalidError(
            f"at {made.output}, the stage {made.stage} is {state}.",
            where=where,
            remedy="Name a finished Train or Average stage.",
            reason="StageNotFinished",
        )
    name = manifest.outputs["model"]
    return StoredWeights(join_uri(stage, name), manifest.files[name].sha256)


def _checkpoint(stores: Stores, made: StageModel, stage: str, where: str) -> StoredWeights:
    directory = join_uri(stage, "checkpoints", f"step-{made.step}")
    uri = join_uri(directory, MANIFEST)
    try:
        manifest = CheckpointManifest.model_validate_json(stores.of(uri).read_bytes(uri))
        return StoredWeights(join_uri(directory, WEIGHTS), manifest.files[WEIGHTS].sha256)
    except (ObjectMissingError, ValidationError, KeyError) as error:
        kept = _kept_steps(_manifest(stores, stage))
        raise SpecInvalidError(
            f"at {made.output}, the stage {made.stage} has no checkpoint of step {made.step}.",
            where=where,
            remedy=f"It kept those of step {kept}."
            if kept
            else "Name a Train stage and a step that it kept.",
            reason="CheckpointNotFound",
        ) from error


def _kept_steps(manifest: StageManifest | None) -> str:
    """Steps of the checkpoints that a finished stage kept, in their order."""
    outputs = manifest.outputs.items() if manifest is not None else ()
    paths = [Path(path) for role, path in outputs if role.startswith(_CHECKPOINT)]
    return ", ".join(map(str, sorted(int(path.parent.name.removeprefix("step-")) for path in paths)))


def _manifest(stores: Stores, stage: str) -> StageManifest | None:
    uri = join_uri(stage, MANIFEST)
    try:
        return parse_manifest(stores.of(uri).read_bytes(uri))
    except ObjectMissingError:
        return None
