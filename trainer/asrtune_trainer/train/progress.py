"""Where training stands: everything but tensors that a resumed run needs to go on as if nothing had happened."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from asrtune_api.stages import Metric, SelectionParams


class Judged(BaseModel):
    """A validated checkpoint."""

    # Pydantic writes NaN as null and then refuses to read it: the whole checkpoint would count as damaged.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    step: int
    epoch: int
    loss: float
    accuracy: float | None
    cer: float | None
    """Percent."""

    def badness(self, metric: Metric) -> float:
        """Smaller is better; not finite is worst. Where the wished metric was not measured, the loss decides."""
        if math.isnan(self.loss):
            return math.inf  # a broken model may understand nothing at a CER of 100 %, which is a number
        value = self.loss
        if metric is Metric.CER and self.cer is not None:
            value = self.cer
        elif metric is Metric.ACCURACY and self.accuracy is not None:
            value = -self.accuracy
        return value if math.isfinite(value) else math.inf


class Progress(BaseModel):
    """Counters and verdicts of a training stage."""

    epoch: int = 0
    """Epochs finished."""
    group: int = 0
    """Batch groups of the current epoch that are done."""
    step: int = 0
    """Optimiser steps done, skipped ones included."""
    skipped: int = 0
    """Steps that were skipped because a gradient was not finite."""
    judged: list[Judged] = Field(default_factory=list)
    """All validations so far."""

    @property
    def current_epoch(self) -> int:
        """The epoch of the last step, from 1."""
        return max(1, self.epoch + bool(self.group))

    def best(self, selection: SelectionParams) -> list[Judged]:
        """The n best checkpoints, best first; of equals the later one."""
        ranked = sorted(self.judged, key=lambda one: (one.badness(selection.metric), -one.step))
        return ranked[: selection.keep]

    def is_best(self, selection: SelectionParams) -> bool:
        """Whether the last validation is the best so far, and a number."""
        if not self.judged or not math.isfinite(self.judged[-1].badness(selection.metric)):
            return False
        return self.best(selection)[0].step == self.judged[-1].step

    def out_of_patience(self, selection: SelectionParams) -> bool:
        """Whether `patience` validations went by without a new best."""
        if selection.patience is None or not self.judged:
            return False
        values = [one.badness(selection.metric) for one in self.judged]
        # An equal value is no progress, though the later of equals is the better checkpoint.
        return len(values) - 1 - values.index(min(values)) >= selection.patience
