"""Walks the chain: skips what is finished and unchanged, runs the rest, and leaves a manifest behind each stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from asrtune_api.errors import SpecInvalidError
from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageSpec
from asrtune_trainer.stages.ahead import Ahead
from asrtune_trainer.stages.base import Finished, Node, Stage, StageContext
from asrtune_trainer.stages.ledger import versions
from asrtune_trainer.stages.manifest import StageManifest, fingerprint, make_manifest
from asrtune_trainer.stages.registry import follow_training, stage_of
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.stages.workspace import Workspace
from asrtune_trainer.telemetry.events import Note, StageFinished, StageSkipped, StageStarted, Telemetry
from asrtune_trainer.train.nodes.peers import Finished as GangFinished


@dataclass(frozen=True)
class _Plan:
    """A stage that is about to run, or needs not to."""

    work: Stage
    context: StageContext
    inputs: Mapping[str, str]
    finished: StageManifest | None
    """Its manifest, where it is finished and unchanged."""


@dataclass
class Chain:
    """One walk through the stages of a run."""

    run: RunSpec
    workspace: Workspace
    scratch: Path
    telemetry: Telemetry
    stop: StopSignal
    node: Node = field(default_factory=Node)
    manifests: dict[str, StageManifest] = field(default_factory=dict)
    """Finished stages, in chain order."""
    repeated: list[str] = field(default_factory=list)
    """Stages that this walk ran."""
    current: str = ""
    """The stage that is looked at or running."""
    ahead: Ahead = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = Ahead(self.run, self.workspace, lambda stage: self._context(stage, {}))

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

    def follow(self) -> None:
        """Take part in the last stage, a training, as another node than the first. Writes nothing to the output.

        Raises:
            AsrtuneError: why this node could not, or how the gang ended.
        """
        position = len(self.run.stages) - 1
        if self.run.stop_after:
            position = [stage.name for stage in self.run.stages].index(self.run.stop_after)
        for earlier in range(position):
            self._take(self.run.stages[earlier], earlier)
        stage = self.run.stages[position]
        self.current = stage.name
        plan = self._plan(stage, position)
        if plan.finished is not None:
            self.telemetry.emit(StageSkipped(stage.name, stage.type, position + 1, len(self.run.stages)))
            return
        self.telemetry.emit(StageStarted(stage.name, stage.type, position + 1, len(self.run.stages)))
        for name in plan.context.upstream:
            self.workspace.fetch(self.manifests[name])
        with suppress(GangFinished):
            follow_training(plan.context)

    def last(self, role: str) -> StageManifest | None:
        """The last finished stage that has such an output."""
        return next((one for one in reversed(self.manifests.values()) if role in one.outputs), None)

    def _take(self, stage: StageSpec, position: int) -> None:
        """Before startAt: what is finished is taken as it is, even if its inputs have changed since."""
        if (manifest := self.workspace.manifest(stage.name)) is not None:
            self.manifests[stage.name] = manifest
            self.telemetry.emit(StageSkipped(stage.name, stage.type, position + 1, len(self.run.stages)))

    def _do(self, stage: StageSpec, position: int) -> None:
        plan = self._plan(stage, position)
        manifest = plan.finished
        if manifest is None:
            self.ahead.look(position)
            self.telemetry.emit(StageStarted(stage.name, stage.type, position + 1, len(self.run.stages)))
            manifest = self._run(plan)
            self.repeated.append(stage.name)
        else:
            self.telemetry.emit(StageSkipped(stage.name, stage.type, position + 1, len(self.run.stages)))
        self.manifests[stage.name] = manifest

    def _plan(self, stage: StageSpec, position: int) -> _Plan:
        work = stage_of(stage.type)
        reads = self._reads(work, stage, position)
        context = self._context(stage, {name: self._finished(name) for name in reads})
        inputs = {f"stage/{name}": one.digest for name, one in context.upstream.items()}
        inputs |= work.inputs(context)
        mark = fingerprint(stage, work.version, inputs)
        manifest = self.workspace.manifest(stage.name)
        if manifest is not None and (manifest.fingerprint != mark or not self._whole(manifest)):
            self._explain_repeat(stage, manifest, inputs)
            manifest = None
        return _Plan(work, replace(context, fingerprint=mark), inputs, manifest)

    def _run(self, plan: _Plan) -> StageManifest:
        context, mark = plan.context, plan.context.fingerprint
        for name in context.upstream:
            self.workspace.fetch(self.manifests[name])
        directory = self.workspace.begin(context.stage.name, mark)
        started, clock = datetime.now(UTC), time.monotonic()
        result = plan.work.run(context)
        manifest = make_manifest(context.stage, mark, plan.inputs, result, directory, started=started)
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
            node=self.node,
            attempt=self.workspace.fence.me,
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
