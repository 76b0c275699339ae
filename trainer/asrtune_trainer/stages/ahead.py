"""Looks ahead: what would fail the next training fails before the stages that come first take their time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from asrtune_api.errors import StorageUnavailableError
from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageSpec, StageType
from asrtune_trainer.models.remote import model_entries
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.manifest import fingerprint
from asrtune_trainer.stages.registry import look_ahead, stage_of
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.storage import local_path


@dataclass
class Ahead:
    """What one walk looks ahead for, once a training."""

    run: RunSpec
    workspace: Workspace
    context: Callable[[StageSpec], StageContext]
    """Of a stage, as long as nothing before it is finished."""
    _seen: set[str] = field(default_factory=set)

    def look(self, position: int) -> None:
        """Look from a stage that is about to run; where that is the training, before its last result is thrown away.

        Args:
            position: of the stage in the chain.

        Raises:
            AsrtuneError: as the training would.
        """
        later = enumerate(self.run.stages[position:], start=position)
        at, training = next((one for one in later if one[1].type is StageType.TRAIN), (0, None))
        if training is None or training.name in self._seen:
            return
        if not self._is_ours(at):
            self._look_for_model()
        elif at > position and self._may_stand(training):
            return
        else:
            look_ahead(self.context(training))
        self._seen.add(training.name)

    def _is_ours(self, position: int) -> bool:
        names = [stage.name for stage in self.run.stages]
        return self.run.stop_after is None or position <= names.index(self.run.stop_after)

    def _may_stand(self, training: StageSpec) -> bool:
        """Whether it is finished, and nothing but the results of the stages before it can have changed."""
        manifest = self.workspace.manifest(training.name)
        if manifest is None:
            return False
        work = stage_of(training.type)
        inputs = {**manifest.inputs, **work.inputs(self.context(training))}
        return manifest.fingerprint == fingerprint(training, work.version, inputs)

    def _look_for_model(self) -> None:
        """A pod before the training's has no need of the model, but sees whether it is on S3.

        Raises:
            SpecInvalidError: it is not.
        """
        uri = self.run.model.uri if self.run.model else None
        if self.workspace.fence.me is not None and uri is not None and local_path(uri) is None:
            with suppress(StorageUnavailableError):  # the training may have more luck
                model_entries(self.workspace.stores, uri)
