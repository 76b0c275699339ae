"""Curves for TensorBoard, one run of it a stage. A resumed stage takes back what its interrupted attempt drew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asrtune_trainer.telemetry.events import Event, Scored, StageFinished, TrainStep, Validated
from asrtune_trainer.telemetry.lines import perplexity

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

DIRECTORY = "tensorboard"
FLUSH_SECONDS = 5


class TensorBoard:
    """Draws training, validations and CERs. Belongs behind `Background`: it imports PyTorch and writes to disk.

    Args:
        directory: the log directory; each stage with curves gets one below it.
    """

    name = "TensorBoard"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writers: dict[str, SummaryWriter] = {}

    def accept(self, event: Event) -> None:
        match event:
            case TrainStep():
                self._draw(event.stage, event.step, _train(event))
            case Validated():
                self._draw(event.stage, event.step, _validated(event))
            case Scored():
                self._draw(event.stage, 0, {f"{event.metric.lower()}/{event.set}/{event.model}": event.cer})
            case StageFinished():
                if writer := self._writers.pop(event.stage, None):
                    writer.close()
            case _:
                pass

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _draw(self, stage: str, step: int, values: dict[str, float | None]) -> None:
        writer = self._writers.get(stage)
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (takes seconds)

            # What an earlier attempt drew from this step on is drawn anew now.
            writer = SummaryWriter(self._directory / stage, purge_step=step, flush_secs=FLUSH_SECONDS)
            self._writers[stage] = writer
        for tag, value in values.items():
            if value is not None:
                writer.add_scalar(tag, value, step)


def _train(event: TrainStep) -> dict[str, float | None]:
    wait = 100 * event.data_seconds / event.step_seconds if event.step_seconds > 0 else None
    return {
        "train/loss": event.loss,
        "train/perplexity": perplexity(event.loss),
        "train/accuracy": event.accuracy,
        "train/learning_rate": event.learning_rate,
        "train/gradient_norm": event.gradient_norm,
        "train/skipped_steps": event.skipped_steps,
        "speed/utterances_per_second": event.utterances_per_second,
        "speed/audio_seconds_per_second": event.audio_seconds_per_second,
        "speed/step_seconds": event.step_seconds,
        "speed/data_wait_percent": wait,
        "speed/padding_percent": event.padding_percent,
        "speed/memory_peak_gb": event.memory_bytes / 1e9,
    }


def _validated(event: Validated) -> dict[str, float | None]:
    return {"valid/loss": event.loss, "valid/accuracy": event.accuracy, "valid/cer": event.cer}
