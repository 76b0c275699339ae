"""The protocol of a stage and what it gets and leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from asrtune_api.base import ApiModel
from asrtune_api.errors import InternalStageError, SpecInvalidError
from asrtune_api.runspec import RunSpec
from asrtune_api.stages import StageSpec, StageType
from asrtune_trainer.stages.fence import Attempt
from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.stages.stop import StopSignal
from asrtune_trainer.storage import Stores
from asrtune_trainer.telemetry.events import Telemetry

if TYPE_CHECKING:
    from asrtune_trainer.train.nodes.peers import Peers

Params = TypeVar("Params", bound=ApiModel)


@dataclass(frozen=True)
class Node:
    """This machine's place in the gang."""

    rank: int = 0
    peers: Peers | None = None
    """The other nodes; None where there are none."""
    grace_seconds: float | None = None
    """How long saving may take when the run is asked to stop; None: as long as it takes."""


@dataclass(frozen=True)
class Finished:
    """A finished stage as later stages see it."""

    name: str
    type: str
    directory: Path
    """Local directory of its files."""
    outputs: Mapping[str, str]
    """Role -> path relative to the directory: train, validation, test/NAME, model, results, report..."""
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    digest: str
    """Digest of its files: what later stages' fingerprints are made of."""

    def path(self, role: str) -> Path:
        """Path of an output.

        Raises:
            InternalStageError: if the stage has no such output.
        """
        if role not in self.outputs:
            raise InternalStageError(f"stage {self.name} has no output {role}")
        return self.directory / self.outputs[role]


@dataclass(frozen=True)
class StageContext:
    """What a stage works with. Paths are local; the chain fetches and uploads."""

    run: RunSpec
    stage: StageSpec
    directory: Path
    """Where the stage writes. What an interrupted attempt with the same fingerprint left is still there."""
    uri: str
    """The stage's directory at the output URI."""
    scratch: Path
    """A cache shared by the stages of this machine; may vanish between stages."""
    upstream: Mapping[str, Finished]
    """The stages named by `reads`, by name."""
    stores: Stores
    """Reads any URI."""
    mirror: Mirror
    """Brings what must survive this machine to the output URI before the stage is finished."""
    telemetry: Telemetry
    stop: StopSignal
    node: Node = field(default_factory=Node)
    attempt: Attempt | None = None
    """Which attempt this is, where they are counted."""
    fingerprint: str = ""
    """Of the stage; known while it runs."""

    def params(self, kind: type[Params]) -> Params:
        """The stage's own parameters."""
        for value in self.stage.__dict__.values():
            if isinstance(value, kind):
                return value
        raise InternalStageError(f"stage {self.stage.name} carries no {kind.__name__}")

    def latest(self, role: str) -> Finished:
        """The last stage read that has such an output.

        Raises:
            InternalStageError: if none has.
        """
        for finished in reversed(list(self.upstream.values())):
            if role in finished.outputs:
                return finished
        raise InternalStageError(f"no stage before {self.stage.name} has an output {role}")


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves for the manifest."""

    outputs: Mapping[str, str]
    """Role -> path relative to the stage's directory."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Numbers for tables, status and Prometheus."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON for later stages and the report (counts, intervals, curves...)."""
    exclude: Sequence[str] = ()
    """Paths below the directory that are scratch: not listed in the manifest."""


def last_of(before: Sequence[StageSpec], *types: StageType) -> str | None:
    """Name of the last earlier stage of one of these types."""
    return next((stage.name for stage in reversed(before) if stage.type in types), None)


def need(stage: StageSpec, before: Sequence[StageSpec], *types: StageType) -> str:
    """The same, where the stage cannot do without.

    Raises:
        SpecInvalidError: if there is none.
    """
    name = last_of(before, *types)
    if name is None:
        wanted = " or ".join(types)
        raise SpecInvalidError(
            f"a {stage.type} stage needs a {wanted} stage before it.",
            where=f"stages.{stage.name}",
            remedy=f"Put a {wanted} stage before {stage.name}.",
        )
    return name


class Stage(Protocol):
    """A stage: a pure function of its parameters and its inputs' digests."""

    version: ClassVar[int]
    """Raised when the same inputs would give another result; part of the fingerprint."""

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        """Names of the earlier stages whose outputs it uses, in chain order.

        Raises:
            SpecInvalidError: if a stage that it needs is not there.
        """
        ...

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        """Digests of inputs that no stage made: data lists, audio, the model directory, the seed where it matters."""
        ...

    def run(self, context: StageContext) -> StageResult:
        """Do the work in `context.directory`."""
        ...
