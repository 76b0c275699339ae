"""Which class does a stage type's work. Imported when needed: torch takes seconds."""

from __future__ import annotations

from importlib import import_module

from asrtune_api.stages import StageType
from asrtune_trainer.stages.base import Stage, StageContext


def stage_of(kind: StageType) -> Stage:
    """The stage that does this type's work: the class of the same name in the module of the same name."""
    module = import_module(f"asrtune_trainer.stages.{kind.lower()}")
    stage: Stage = getattr(module, f"{kind}Stage")()
    return stage


def look_ahead(context: StageContext) -> None:
    """What would keep a training from starting; see `stages.train.look_ahead`."""
    from asrtune_trainer.stages import train  # noqa: PLC0415 (torch takes seconds)

    train.look_ahead(context)


def follow_training(context: StageContext) -> None:
    """Take part in a training that node 0 leads."""
    from asrtune_trainer.stages.train import follow  # noqa: PLC0415 (torch takes seconds)

    follow(context)
