"""Freezes parts of a model, and keeps them still: no gradients, no dropout, no new statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.models.base import Batch, SpeechModel


@dataclass(frozen=True, slots=True)
class FrozenReport:
    """What is trained after freezing; numbers count single weights."""

    trainable_parameters: int
    total_parameters: int
    components: Mapping[str, tuple[int, int]]
    """Component -> (trainable, total)."""


def freeze(model: SpeechModel, names: Sequence[str]) -> FrozenReport:
    """Takes parameters out of training; what was frozen before stays so.

    Args:
        model: the model.
        names: names of components (`model.components`), or prefixes of parameter names that end at a dot
            (``encoder.encoders.0``) or name one parameter.

    Raises:
        SpecInvalidError: a name fits no component and no parameter.
    """
    parameters = dict(model.module.named_parameters())
    for name in names:
        prefixes = model.components.get(name, (name.removesuffix("."),))
        chosen = [parameters[key] for key in parameters if _under(key, prefixes)]
        if not chosen:
            raise SpecInvalidError(
                f"the model has no component and no parameter named {name}.",
                where="train.freeze",
                remedy=f"Its components are {', '.join(sorted(model.components))}; "
                "a prefix of parameter names such as encoder.encoders.0 will do too.",
            )
        for parameter in chosen:
            parameter.requires_grad = False
    return _report(model)


def _under(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(prefix.removesuffix(".") + ".") for prefix in prefixes)


def _report(model: SpeechModel) -> FrozenReport:
    parameters = dict(model.module.named_parameters())
    components = {
        name: _count([parameters[key] for key in parameters if _under(key, prefixes)])
        for name, prefixes in model.components.items()
    }
    return FrozenReport(*_count(list(parameters.values())), components)


def _count(parameters: Sequence[torch.nn.Parameter]) -> tuple[int, int]:
    return (
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        sum(parameter.numel() for parameter in parameters),
    )


def train_mode(model: SpeechModel) -> None:
    """`module.train()`, but wholly frozen parts go to evaluation mode: no dropout, no new statistics in them."""
    model.module.train()
    _keep_still(model.module)


def _keep_still(module: torch.nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _keep_still(child)


@contextmanager
def evaluation_mode(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; afterwards each part is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        # Not inference_mode: tables of positions that a layer keeps from here could not be trained with later.
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def unused_parameters(model: SpeechModel, batch: Batch) -> list[str]:
    """Trainable parameters that the loss never reaches: DDP would wait for their gradients for ever.

    Runs the batch once forwards and backwards, and leaves no trace.

    Args:
        model: the model.
        batch: any batch, on the module's device.

    Returns:
        their names.
    """
    with rehearsal(model, batch):
        torch.autograd.backward(model.forward(model.module, batch).loss)
        return [
            name
            for name, parameter in model.module.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]


@contextmanager
def rehearsal(model: SpeechModel, batch: Batch) -> Iterator[None]:
    """Train inside the block without a trace: random state, gradients, statistics and modes are put back."""
    module = model.module
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    statistics = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = [(part, part.training) for part in module.modules()]
    devices = [batch["speech"].device] if batch["speech"].is_cuda else []
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            train_mode(model)
            for parameter in module.parameters():
                parameter.grad = None
            yield
    finally:
        for name, parameter in module.named_parameters():
            parameter.grad = gradients[name]
        for name, buffer in module.named_buffers():
            buffer.copy_(statistics[name])
        for part, training in modes:
            part.training = training
