"""The bootstrap against what is known in closed form."""

import numpy as np
import pytest

from asrtune_trainer.scoring import bootstrap
from asrtune_trainer.scoring.bootstrap import difference, interval

RNG = np.random.default_rng(5)
LENGTHS = np.full(400, 20)
EDITS = RNG.binomial(20, 0.1, size=400)


def test_interval_matches_the_normal_approximation() -> None:
    rates = 100 * EDITS / 20
    error = rates.std() / np.sqrt(len(rates))
    found = interval(EDITS, LENGTHS, samples=4000, seed=0)
    assert found.low == pytest.approx(rates.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(rates.mean() + 1.96 * error, abs=0.2 * error)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    hits = 0
    for seed in range(300):
        edits = np.random.default_rng(1000 + seed).binomial(10, 0.2, size=120)
        found = interval(edits, np.full(120, 10), samples=300, seed=seed)
        hits += found.low <= 20.0 <= found.high
    assert 0.90 <= hits / 300 <= 0.99


def test_same_seed_same_interval_whatever_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = interval(EDITS, LENGTHS, samples=500, seed=3)
    assert interval(EDITS, LENGTHS, samples=500, seed=3) == whole
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    assert interval(EDITS, LENGTHS, samples=500, seed=3) == whole


def test_pairing_makes_a_small_steady_gain_certain() -> None:
    hard = RNG.binomial(20, RNG.uniform(0, 0.9, size=400))
    better = np.maximum(0, hard - (np.arange(400) % 4 == 0))
    found = difference(hard, better, LENGTHS, samples=1000, seed=0)
    assert found.gain == pytest.approx(100 * (hard - better).sum() / LENGTHS.sum())
    assert found.interval.low > 0
    assert found.probability == 1.0
    apart = interval(hard, LENGTHS, samples=1000, seed=0)
    assert apart.high - apart.low > 4 * (found.interval.high - found.interval.low)


def test_a_worse_model_has_a_negative_gain() -> None:
    found = difference(EDITS, EDITS + 1, LENGTHS, samples=200, seed=0)
    assert found.gain == pytest.approx(-5.0)
    assert found.probability == 0.0


@pytest.mark.parametrize("size", [0, 1])
def test_tiny_sets(size: int) -> None:
    edits = np.full(size, 2)
    found = interval(edits, np.full(size, 4), samples=100, seed=0)
    assert (found.low, found.high) == ((50.0, 50.0) if size else (0.0, 0.0))
    assert difference(edits, edits, np.full(size, 4), samples=100, seed=0).gain == 0.0


def test_empty_references_do_not_divide_by_zero() -> None:
    found = interval(np.array([0, 0]), np.array([0, 0]), samples=100, seed=0)
    assert (found.low, found.high) == (0.0, 0.0)
