"""Clipping on true gradients, and steps that do nothing where a gradient is not finite."""

import pytest
import torch

from asrtune_api.errors import SpecInvalidError
from asrtune_api.stages import Precision, TrainParams
from asrtune_trainer.train.optimizer import build_optimizer, clip_gradients
from asrtune_trainer.train.precision import Arithmetic

CPU = torch.device("cpu")


def linear(gradient: float) -> torch.nn.Linear:
    module = torch.nn.Linear(2, 1)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    return module


def test_gradients_are_scaled_to_the_limit_and_the_norm_before_is_told():
    module = linear(10.0)
    norm = clip_gradients(module.parameters(), 5.0)
    assert norm.item() == pytest.approx(10 * 3**0.5)
    after = torch.cat([parameter.grad.flatten() for parameter in module.parameters()])
    assert after.norm().item() == pytest.approx(5.0, rel=1e-4)


def test_small_gradients_and_no_limit_change_nothing():
    for gradient, limit in ((0.1, 5.0), (10.0, 0.0)):
        module = linear(gradient)
        clip_gradients(module.parameters(), limit)
        assert all(torch.equal(p.grad, torch.full_like(p, gradient)) for p in module.parameters())


@pytest.mark.parametrize("gradient", [float("nan"), float("inf"), 1.0])
def test_a_step_is_skipped_whole_or_taken(gradient):
    module = linear(gradient)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer = build_optimizer(module, TrainParams(), CPU)
    arithmetic = Arithmetic(Precision.FP32, CPU)
    skipped = arithmetic.step(optimizer, clip_gradients(module.parameters(), 5.0))
    changed = any(not torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))
    assert changed != bool(skipped.item())
    assert bool(skipped.item()) == (gradient != 1.0)
    assert bool(optimizer.state) != bool(skipped.item())


def test_precision_by_device():
    assert Arithmetic(Precision.AUTO, CPU).precision is Precision.FP32
    assert Arithmetic(Precision.BF16, CPU).precision is Precision.BF16
    with pytest.raises(SpecInvalidError, match="FP16 training needs a GPU"):
        Arithmetic(Precision.FP16, CPU)
