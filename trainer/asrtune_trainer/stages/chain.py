"""Walks the chain: skips what is finished and unchanged, runs the rest, and leaves a manifest behind each stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from asrtune_api.errors import SpecInvalidError
from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageSpec
from asrtune_api.termination import Result
from asrtune_trainer.stages.base import Finished, Stage, StageContext
from asrtune_trainer.stages.ledger import versions
from asrtune_trainer.stages.manifest import StageManifest, fingerprint, make_manifest
from asrtune_trainer.stages.outcome import evaluation_entries
from asrtune_trainer.stages.registry import stage_of
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.telemetry.events import Note, StageFinished, StageSkipped, StageStarted, Telemetry


@dataclass
class Chain:
    """One walk through the stages of a run."""

    run: RunSpec
    workspace: Workspace
    scratch: Path
    telemetry: Telemetry
    stop: StopSignal
    manifests: dict[str, StageManifest] = field(default_factory=dict)
    """Finished stages, in chain order."""
    repeated: list[str] = field(default_factory=list)
    """Stages that this walk ran."""
    current: str = ""
    """The stage that is looked at or running."""

    def walk(self) -> None:
        """Run the chain from startAt to stopAfter.

        Raises:
            AsrtuneError: the failure of a stage; finished stages stay finished.
        """
        names = [stage.name for stage in self.run.stages]
        first = names.index(self.run.start_at) if self.run.start_at else 0
        last = names.index(self.run.stop_after) if self.run.stop_after else len(names) - 1
        for position, stage in enumerate(self.run.stages[: last + 1]):
            self.stop.check()
            self.current = stage.name
            if position < first:
                self._take(stage, position)
            else:
                self._do(stage, position)

        self.current = ""

    def results(self) -> dict[str, Result]:
        """The gate's verdict, scores by set and model, and metrics of all finished stages: `STAGE/METRIC` -> value."""
        metrics = {
            f"{name}/{metric}": value
            for name, one in self.manifests.items()
            for metric, value in one.metrics.items()
        }
        return {**evaluation_entries(self.run, self.manifests), **metrics}

    def last(self, role: str) -> StageManifest | None:
        """The last finished stage that has such an output."""
        return next((one for one in reversed(self.manifests.values()) if role in one.outputs), None)

    def _take(self, stage: StageSpec, position: int) -> None:
        """Before startAt: what is finished is taken as it is, even if its inputs have changed since."""
        if (manifest := self.workspace.manifest(stage.name)) is not None:
            self.manifests[stage.name] = manifest
            self.telemetry.emit(StageSkipped(stage.name, stage.type, position + 1, len(self.run.stages)))

    def _do(self, stage: StageSpec, position: int) -> None:
        work = stage_of(stage.type)
        reads = self._reads(work, stage, position)
        context = self._context(stage, {name: self._finished(name) for name in reads})
        inputs = {f"stage/{name}": one.digest for name, one in context.upstream.items()}
        inputs |= work.inputs(context)
        mark = fingerprint(stage, work.version, inputs)
        manifest = self.workspace.manifest(stage.name)
        if manifest is None or manifest.fingerprint != mark or not self._whole(manifest):
            if manifest is not None:
                self._explain_repeat(stage, manifest, inputs)
            self.telemetry.emit(StageStarted(stage.name, stage.type, position + 1, len(self.run.stages)))
            manifest = self._run(work, context, mark, inputs)
            self.repeated.append(stage.name)
        else:
            self.telemetry.emit(StageSkipped(stage.name, stage.type, position + 1, len(self.run.stages)))
        self.manifests[stage.name] = manifest

    def _run(self, work: Stage, context: StageContext, mark: str, inputs: Mapping[str, str]) -> StageManifest:
        for name in context.upstream:
            self.workspace.fetch(self.manifests[name])
        directory = self.workspace.begin(context.stage.name, mark)
        started, clock = datetime.now(UTC), time.monotonic()
        result = work.run(context)
        manifest = make_manifest(context.stage, mark, inputs, result, directory, started=started)
        manifest = manifest.model_copy(update={"versions": versions()})
        self.workspace.commit(manifest)
        self.telemetry.emit(
            StageFinished(context.stage.name, context.stage.type, time.monotonic() - clock, manifest.metrics)
        )
        return manifest

    def _reads(self, work: Stage, stage: StageSpec, position: int) -> Sequence[str]:
        reads = work.reads(stage, self.run.stages[:position])
        for name in reads:
            if name not in self.manifests:
                raise SpecInvalidError(
                    f"stage {stage.name} needs stage {name}, which is not finished.",
                    where="startAt",
                    remedy=f"Start at {name} or before it.",
                )
        return reads

    def _context(self, stage: StageSpec, upstream: Mapping[str, Finished]) -> StageContext:
        return StageContext(
            run=self.run,
            stage=stage,
            directory=self.workspace.directory(stage.name),
            uri=self.workspace.uri(stage.name),
            scratch=self.scratch,
            upstream=upstream,
            stores=self.workspace.stores,
            mirror=self.workspace.mirror(stage.name),
            telemetry=self.telemetry,
            stop=self.stop,
        )

    def _finished(self, name: str) -> Finished:
        return self.manifests[name].finished(self.workspace.directory(name))

    def _whole(self, manifest: StageManifest) -> bool:
        """A local stage whose files were deleted is not finished; a remote one's are behind its manifest."""
        return self.workspace.remote or manifest.lies_in(self.workspace.directory(manifest.stage))

    def _explain_repeat(self, stage: StageSpec, manifest: StageManifest, inputs: Mapping[str, str]) -> None:
        changed = sorted(
            name for name in {*inputs, *manifest.inputs} if inputs.get(name) != manifest.inputs.get(name)
        )
        cause = ", ".join(changed) if changed else "its parameters, its files or the trainer's version"
        self.telemetry.emit(Note(stage.name, f"{stage.name} is repeated; changed since: {cause}"))
