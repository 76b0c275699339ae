"""Optimiser, gradient clipping, and steps that skip themselves when a gradient is not finite."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from asrtune_api.stages import Optimizer, TrainParams


def build_optimizer(
    module: torch.nn.Module, params: TrainParams, device: torch.device
) -> torch.optim.Optimizer:
    """Optimiser over the trainable parameters; fused on CUDA, so that skipping a step needs no synchronisation."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    kind = torch.optim.Adam if params.optimizer is Optimizer.ADAM else torch.optim.AdamW
    return kind(
        trainable,
        lr=params.learning_rate,
        weight_decay=params.weight_decay,
        fused=device.type == "cuda" or None,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def clip_gradients(parameters: Iterable[torch.nn.Parameter], limit: float) -> torch.Tensor:
    """Scale unscaled gradients to a global L2 norm of at most `limit` (0: only measure).

    Returns:
        The norm before clipping, a scalar on the parameters' device; not finite if any gradient is not.
    """
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(
        [parameter.grad for parameter in with_gradient if parameter.grad is not None]
    )
    if limit > 0:
        torch.nn.utils.clip_grads_with_norm_(with_gradient, limit, norm)
    return norm
