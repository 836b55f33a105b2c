from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.loading import train_loader
from essnet.data.textures import TexturesDataset
from essnet.data.transforms import unchanged

FACTORS = st.lists(st.floats(1, 4), min_size=1, max_size=12)


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 2**40), st.integers(0, 30))
def test_a_sampler_started_later_goes_on_as_the_uninterrupted_one(
    length: int, batch_size: int, seed: int, start: int
) -> None:
    def sampler(step: int) -> TrainBatchSampler:
        return TrainBatchSampler(length=length, batch_size=batch_size, seed=seed, start_step=step)

    whole = list(itertools.islice(sampler(0), start + 4))
    assert list(itertools.islice(sampler(start), 4)) == whole[start:]
    drawn = list(itertools.chain.from_iterable(whole))
    assert all(len(batch) == batch_size for batch in whole)
    assert [draw for _, draw in drawn] == list(range(len(drawn)))
    for begin in range(0, len(drawn) - length + 1, length):
        assert sorted(index for index, _ in drawn[begin : begin + length]) == list(range(length))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int) -> list[int]:
        batches = itertools.islice(TrainBatchSampler(length=50, batch_size=50, seed=seed), 2)
        return [index for batch in batches for index, _ in batch]

    assert order(0)[:50] != order(0)[50:]
    assert order(0) != order(1)


@pytest.mark.parametrize("changes", [{"length": 0}, {"batch_size": 0}, {"start_step": -1}, {"seed": -1}])
def test_impossible_samplers_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))}={next(iter(changes.values()))}"):
        TrainBatchSampler(**{"length": 3, "batch_size": 2, "seed": 0, **changes})


# Items that are seen more often than once.


def first(factors: list[float], count: int, **changes: int) -> list[tuple[int, int]]:
    """What is drawn first, batches put together."""
    options = {"batch_size": 1, "seed": 0, **changes}
    sampler = TrainBatchSampler(length=len(factors), repeat_factors=np.array(factors), **options)
    return list(itertools.islice(itertools.chain.from_iterable(sampler), count))


@given(FACTORS, st.integers(1, 9), st.integers(0, 2**40), st.integers(0, 30))
def test_with_factors_too_a_sampler_started_later_goes_on_as_the_uninterrupted_one(
    factors: list[float], batch_size: int, seed: int, start: int
) -> None:
    whole = first(factors, (start + 4) * batch_size, batch_size=batch_size, seed=seed)
    assert [draw for _, draw in whole] == list(range(len(whole)))
    rest = first(factors, 4 * batch_size, batch_size=batch_size, seed=seed, start_step=start)
    assert rest == whole[start * batch_size :]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=9), st.integers(0, 99))
def test_a_whole_factor_is_the_number_of_times_in_every_epoch(factors: list[int], seed: int) -> None:
    length = sum(factors)
    drawn = [index for index, _ in first([float(factor) for factor in factors], 3 * length, seed=seed)]
    for begin in range(0, 3 * length, length):
        assert Counter(drawn[begin : begin + length]) == dict(enumerate(factors))


def test_a_factor_is_the_mean_number_of_times() -> None:
    # The last item has a factor of its own, so that nothing but the draws decides how long epochs are.
    factors = [1.0, 1.25, 2.5, 3.9, 1.0]
    counts = Counter(index for index, _ in first(factors, 40_000))
    epochs = 40_000 / sum(factors)
    for index, factor in enumerate(factors):
        assert counts[index] / epochs == pytest.approx(factor, rel=0.02)


def test_factors_of_one_see_everything_once_in_an_epoch() -> None:
    drawn = [index for index, _ in first([1.0] * 7, 21)]
    assert [sorted(drawn[begin : begin + 7]) for begin in (0, 7, 14)] == [list(range(7))] * 3


def test_epochs_are_drawn_anew() -> None:
    drawn = [index for index, _ in first([1.5] * 40, 600)]
    # Every epoch has all items, so a new one begins where all have been seen since the last began, at the latest.
    lengths, epoch = [], []
    sampler = TrainBatchSampler(length=40, batch_size=1, seed=0, repeat_factors=np.full(40, 1.5))
    for number in range(600):
        if sampler._epoch_of(number)[1] == 0 and epoch:
            lengths.append(len(epoch))
            assert set(epoch) == set(range(40))
            assert set(Counter(epoch).values()) == {1, 2}
            epoch = []
        epoch.append(drawn[number])
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("factors", [[1.0, 1.0], [1.0, 0.5, 1.0], [1.0, np.nan, 1.0], [[1.0, 1.0, 1.0]]])
def test_impossible_factors_are_refused(factors: list) -> None:
    with pytest.raises(ValueError, match="repeat_factors must be 3 numbers of at least 1"):
        TrainBatchSampler(length=3, batch_size=2, seed=0, repeat_factors=np.array(factors))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_draws_what_the_sampler_says_wherever_it_starts(num_workers: int) -> None:
    dataset = TexturesDataset(split="train", num_classes=5, size=(8, 8), length=6)
    factors = np.array([1.0, 2.3, 1.0, 3.7, 1.5, 1.0])

    def batches(start_step: int, count: int) -> list:
        loader = train_loader(
            dataset,
            transform=unchanged,
            batch_size=4,
            seed=3,
            start_step=start_step,
            repeat_factors=factors,
            num_workers=num_workers,
        )
        return list(itertools.islice(loader, count))

    expected = itertools.islice(TrainBatchSampler(length=6, batch_size=4, seed=3, repeat_factors=factors), 7)
    whole, rest = batches(0, 7), batches(5, 2)
    for (images, _), batch in zip(whole, expected, strict=True):
        assert all((image == dataset[index][0]).all() for image, (index, _) in zip(images, batch, strict=True))
    for (images, targets), (images_again, targets_again) in zip(whole[5:], rest, strict=True):
        assert (images == images_again).all()
        assert (targets == targets_again).all()
