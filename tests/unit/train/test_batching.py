"""Batches: every utterance as often as its weight says, within limits, in equal numbers, and always the same."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrtune_api.stages import BatchParams, BatchUnit
from asrtune_trainer.data.batching import Batching, Lengths


def lengths_of(frames: list[int], sets: list[int] | None = None) -> Lengths:
    return Lengths(
        np.array(frames),
        np.array([max(1, frame // 20) for frame in frames]),
        np.array(sets if sets is not None else [0] * len(frames)),
    )


batchings = st.builds(
    lambda frames, size, world, seed, unit, most: Batching(
        lengths_of(frames),
        [100],
        BatchParams(unit=unit, size=size, max_utterances=most),
        seed,
        world,
    ),
    st.lists(st.integers(1, 900), min_size=1, max_size=120),
    st.integers(1000, 5000),
    st.integers(1, 5),
    st.integers(0, 2**31 - 1),
    st.sampled_from(list(BatchUnit)),
    st.integers(1, 50),
)


@given(batchings, st.integers(0, 3))
@settings(max_examples=200)
def test_no_utterance_is_dropped_and_no_rank_starves(batching, epoch):
    groups = batching.epoch(epoch)
    assert all(len(group) == batching.world for group in groups)
    assert all(len(batch) for group in groups for batch in group)
    count = Counter(int(index) for group in groups for batch in group for index in batch)
    utterances = len(batching.lengths.frames)
    assert set(count) == set(range(utterances))
    if count.total() > utterances:  # repeated only where no batch could be halved
        assert all(len(batch) == 1 for group in groups for batch in group)
        assert count.total() - utterances < batching.world


@given(batchings, st.integers(0, 3))
def test_batches_stay_within_the_limits(batching, epoch):
    cost = batching.lengths.cost(batching.params.unit)
    for group in batching.epoch(epoch):
        for batch in group:
            assert len(batch) <= batching.params.max_utterances
            assert int(cost[batch].max()) * len(batch) <= batching.params.size


@given(batchings, st.integers(0, 3))
def test_an_epoch_is_a_function_of_its_number(batching, epoch):
    once, again = batching.epoch(epoch), batching.epoch(epoch)
    assert [[batch.tolist() for batch in group] for group in once] == [
        [batch.tolist() for batch in group] for group in again
    ]


def test_seeds_and_epochs_give_other_orders():
    frames = np.random.default_rng(0).integers(50, 900, 300).tolist()
    orders = {
        (seed, epoch): str(
            [
                batch.tolist()
                for group in Batching(lengths_of(frames), [100], BatchParams(), seed).epoch(epoch)
                for batch in group
            ]
        )
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9


@pytest.mark.parametrize(("percent", "expected"), [(100, 40), (30, 12), (250, 100), (1, 0)])
def test_weights_say_how_often(percent, expected):
    batching = Batching(lengths_of([100] * 50, [0] * 10 + [1] * 40), [100, percent], BatchParams(), 0)
    count = Counter(int(index) for group in batching.epoch(0) for batch in group for index in batch)
    assert sum(count[index] for index in range(10)) == 10
    assert sum(count[index] for index in range(10, 50)) == expected


def test_buckets_waste_little():
    frames = np.random.default_rng(0).integers(50, 3000, 4000).tolist()
    batching = Batching(lengths_of(frames), [100], BatchParams(size=20000), 0)
    batches = [batch for group in batching.epoch(0) for batch in group]
    unsorted = [np.arange(start, min(start + 10, 4000)) for start in range(0, 4000, 10)]
    assert batching.padding_percent(batches) < 10
    assert batching.padding_percent(unsorted) > 30


def test_ranks_of_a_group_get_like_lengths():
    frames = np.random.default_rng(0).integers(50, 3000, 4000).tolist()
    batching = Batching(lengths_of(frames), [100], BatchParams(size=20000), 0, world=4)
    longest = [[batching.lengths.frames[batch].max() for batch in group] for group in batching.epoch(0)]
    assert np.median([(max(row) - min(row)) / max(row) for row in longest]) < 0.1


def test_an_utterance_larger_than_a_batch_is_found():
    batching = Batching(lengths_of([10, 5000, 20]), [100], BatchParams(size=100), 0)
    assert batching.oversized().tolist() == [1]
    with pytest.raises(ValueError, match="larger than a batch"):
        batching.epoch(0)
