"""Runs as people name them, and as the API server gives them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic import ValidationError

from asrtune_api.evaluation import EvaluationStatus
from asrtune_api.status import (
    AttemptStatus,
    Condition,
    ConditionStatus,
    ConditionType,
    FinetuneStatus,
    Phase,
    RunStatus,
)
from asrtune_operator.kubectl.failing import PluginError
from asrtune_operator.state.objects import RunObject, run_object
from asrtune_operator.values.kinds import EVALUATIONS, FINETUNES, Resource

Json = dict[str, Any]

_KINDS: Final = {
    **dict.fromkeys(("finetune", "asrfinetune", "asrfinetunes", "asrft"), FINETUNES),
    **dict.fromkeys(("evaluation", "asrevaluation", "asrevaluations", "asrev"), EVALUATIONS),
}
_ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Ref:
    """Which run of a namespace."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        return self.name if self.resource is FINETUNES else f"evaluation/{self.name}"


def ref_of(text: str) -> Ref:
    """The run that NAME, finetune/NAME or evaluation/NAME means.

    Raises:
        PluginError: another kind, or no name.
    """
    kind, slash, name = text.rpartition("/")
    resource = _KINDS.get(kind.lower().removesuffix(".asrtune.dev")) if slash else FINETUNES
    if resource is None or not name:
        raise PluginError(f'"{text}" names no run.', remedy="Write NAME, or evaluation/NAME.")
    return Ref(resource, name)


@dataclass(frozen=True)
class RunView:
    """A run and its status.

    Attributes:
        raw: as the API server gives it.
    """

    raw: Json

    @cached_property
    def run(self) -> RunObject:
        return run_object(self.raw)

    @cached_property
    def ref(self) -> Ref:
        return Ref(self.run.resource, self.run.identity.name)

    @property
    def named(self) -> str:
        """What this plugin's commands are given for it."""
        return f"{self.ref} -n {self.run.identity.namespace}"

    @property
    def title(self) -> str:
        return f"{self.run.identity.namespace}/{self.ref}"

    @cached_property
    def status(self) -> RunStatus:
        """Its status; an empty one where nobody has written one yet.

        Raises:
            PluginError: a newer operator wrote what this plugin does not know.
        """
        model = EvaluationStatus if self.run.identity.evaluation else FinetuneStatus
        try:
            return model.model_validate(self.run.status, by_alias=True, by_name=False)
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise PluginError(
                f"the status holds what this plugin cannot read: status.{field}.",
                where=self.title,
                remedy="An operator of another version wrote it: use the plugin of that version.",
            ) from None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status.phase in _ENDED and not self.behind

    @property
    def behind(self) -> bool:
        """Whether the operator has not seen the spec as it is now."""
        return self.status.observed_generation != self.run.generation

    @property
    def output(self) -> str:
        return str((self.run.spec.get("output") or {}).get("uri", "")).rstrip("/")

    @property
    def newest(self) -> AttemptStatus | None:
        """The attempt that runs, or ran last."""
        return max(self.status.attempts, key=lambda one: one.created_at, default=None)

    def condition(self, kind: ConditionType) -> Condition | None:
        """Its condition of a type."""
        return next((one for one in self.status.conditions if one.type is kind), None)

    def holds(self, kind: ConditionType) -> Condition | None:
        """Its condition of a type where it is true."""
        found = self.condition(kind)
        return found if found is not None and found.status is ConditionStatus.TRUE else None
