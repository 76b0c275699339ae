"""What part of a run's time each stage usually takes: how far a whole run is, is guessed from it."""

from __future__ import annotations

from typing import Final

from asrtune_api.stages import StageType

SHARES: Final = {
    StageType.PREPARE: 4,
    StageType.SIMULATE: 6,
    StageType.TRAIN: 70,
    StageType.AVERAGE: 1,
    StageType.EVALUATE: 15,
    StageType.EXPORT: 2,
    StageType.PUBLISH: 2,
}
"""Only their ratios count."""
