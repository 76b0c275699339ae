"""Arithmetic of the forward and backward pass, and the gradient scaler that fp16 needs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_api.stages import Precision


class Arithmetic:
    """Autocast, loss scaling, and optimiser steps without host synchronisation on CUDA.

    Args:
        precision: as asked for; AUTO is decided here by the device.
        device: where the model lies.

    Raises:
        SpecInvalidError: if the device cannot do it.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.device = device
        self.precision = _decide(precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision is Precision.FP16)

    def autocast(self) -> AbstractContextManager[object]:
        match self.precision:
            case Precision.BF16:
                return torch.autocast(self.device.type, torch.bfloat16)
            case Precision.FP16:
                return torch.autocast(self.device.type, torch.float16)
            case _:
                return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        scaled: Any = self.scaler.scale(loss)
        scaled.backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring gradients back to their true size, so that clipping sees it."""
        if self.scaler.is_enabled():
            self.scaler.unscale_(optimizer)

    def searching(self) -> bool:
        """Whether skipped steps only lower the loss scale, as fp16 does now and then. Synchronises with the device."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1

    def step(self, optimizer: torch.optim.Optimizer, norm: torch.Tensor) -> torch.Tensor:
        """Take the optimiser step unless a gradient is not finite.

        Args:
            optimizer: with unscaled, clipped gradients.
            norm: their global norm before clipping.

        Returns:
            1.0 if the step was skipped, else 0.0; a scalar on the device.
        """
        skipped = (~torch.isfinite(norm)).to(torch.float32)
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        elif self.device.type == "cuda":
            # Fused optimisers leave everything as it is where found_inf is 1: the skip is decided on the device.
            optimizer.found_inf = skipped.reshape(1)  # type: ignore[attr-defined]
            optimizer.grad_scale = None  # type: ignore[attr-defined]
            optimizer.step()
        elif not skipped.item():
            optimizer.step()
        return skipped


def _decide(asked: Precision, device: torch.device) -> Precision:
    if asked is Precision.AUTO:
        return Precision.BF16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else Precision.FP32
    if asked is Precision.FP16 and device.type == "cpu":
        raise SpecInvalidError(
            "FP16 training needs a GPU.", where="train.precision", remedy='Use "Auto", "FP32" or "BF16".'
        )
    return asked
