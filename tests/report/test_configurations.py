"""Which trials are one configuration, what its mean is of, and which configuration is the best."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from essnet.config.sweep import SearchConstraint
from essnet.report import ComparedTrial, Configuration, best_of, gather
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, STOPPED


def trial(
    number: int, arm: str, miou: float | None, *, seed: int | None = None, state: str = COMPLETED, **overrides: int
) -> ComparedTrial:
    """A trial; without a seed of its own it has the base trial's, which is 0."""
    metrics = {} if miou is None else {"val/miou": miou, "perf/step_ms": 100.0 + number}
    own = {} if seed is None else {"seed": seed}
    return ComparedTrial(f"{number:03d}-{arm}", arm, {**overrides, **own}, seed or 0, state, 300, metrics)


def configurations(*trials: ComparedTrial, mode: str = "max") -> tuple[Configuration, ...]:
    return gather(trials, metric="val/miou", mode=mode, baseline_arm="full")


def best_trial(*trials: ComparedTrial, mode: str = "max") -> str | None:
    best = best_of(configurations(*trials, mode=mode), mode=mode)
    return None if best is None else best.trial_id


def test_trials_that_differ_in_nothing_but_the_seed_are_one_configuration() -> None:
    found = configurations(
        trial(0, "full", 0.8),
        trial(1, "knn", 0.5, d=8, k=3),
        trial(2, "knn", 0.6, d=12, k=3),
        trial(3, "knn", 0.7, k=3, d=8, seed=1),
        trial(4, "exact", 0.7, d=8, k=3, seed=1),
    )
    assert [[one.trial_id for one in configuration.trials] for configuration in found] == [
        ["000-full"],
        ["001-knn", "003-knn"],
        ["002-knn"],
        ["004-exact"],
    ]
    knn = found[1]
    assert (knn.overrides, knn.seeds, knn.trial_id) == ({"d": 8, "k": 3}, (0, 1), "001-knn")
    assert knn.value is not None
    assert knn.value.mean == knn.metrics["val/miou"] == pytest.approx(0.6)
    assert knn.metrics["perf/step_ms"] == 102


def test_differences_are_of_equal_seeds() -> None:
    _, knn = configurations(
        trial(0, "full", 0.5),
        trial(1, "full", 0.7, seed=1),
        trial(2, "knn", 0.52),
        trial(3, "knn", 0.73, seed=1),
        trial(4, "knn", 0.9, seed=2),  # has no partner
    )
    assert knn.difference is not None
    assert knn.difference.mean == pytest.approx((0.02 + 0.03) / 2)
    assert knn.difference.count == 2
    assert knn.value is not None
    assert knn.value.mean == pytest.approx((0.52 + 0.73 + 0.9) / 3)


def test_no_difference_without_a_common_seed_or_a_baseline() -> None:
    full, knn = configurations(trial(0, "full", 0.5, seed=1), trial(1, "knn", 0.6, seed=2))
    assert knn.difference is None
    assert full.difference is not None
    assert (full.difference.mean, full.difference.half_width) == (0, None)
    (alone,) = configurations(trial(1, "knn", 0.6, seed=2))
    assert alone.difference is None


def test_complete_trials_alone_make_the_mean_where_there_are_any() -> None:
    states = [COMPLETED, RUNNING, FAILED, STOPPED, PENDING]
    (found,) = configurations(*(trial(i, "full", 0.1 * i + 0.5, seed=i, state=s) for i, s in enumerate(states)))
    assert found.seeds == (0,)
    (unfinished,) = configurations(*(trial(i, "full", 0.1 * i, seed=i, state=RUNNING) for i in range(3)))
    assert unfinished.seeds == (0, 1, 2)


def test_the_same_point_and_seed_drawn_twice_is_no_second_seed() -> None:
    (found,) = configurations(trial(0, "full", 0.5), trial(1, "full", 0.5))
    assert (found.seeds, len(found.trials)) == ((0,), 2)
    assert found.value is not None
    assert found.value.half_width is None


def test_the_trial_that_stands_for_a_configuration_has_a_result() -> None:
    (found,) = configurations(trial(0, "full", None, seed=0, state=FAILED), trial(1, "full", 0.5, seed=1))
    assert found.trial_id == "001-full"
    (none,) = configurations(trial(0, "full", None, state=FAILED))
    assert (none.trial_id, none.value, none.seeds) == ("000-full", None, ())


def test_a_lucky_run_does_not_beat_a_mean() -> None:
    replicated = [trial(seed, "knn", 0.7, seed=seed) for seed in range(3)]
    twice = [trial(10 + seed, "twice", 0.8, seed=seed) for seed in range(2)]
    assert best_trial(trial(9, "lucky", 0.9), *twice, *replicated) == "000-knn"


@pytest.mark.parametrize("state", [STOPPED, FAILED])
def test_a_trial_that_did_not_come_to_its_end_beats_none_that_did(state: str) -> None:
    cut = trial(0, "cut", 0.9, state=state)
    assert best_trial(cut, trial(1, "whole", 0.5)) == "001-whole"
    assert best_trial(cut) == "000-cut"
    with_failure = [trial(2, "half", 0.9, seed=0), trial(3, "half", None, seed=1, state=state)]
    assert best_trial(*with_failure, trial(4, "whole", 0.5)) == "004-whole"
    many_cut = [trial(10 + seed, "cut", 0.9, seed=seed, state=state) for seed in range(3)]
    assert best_trial(*many_cut, trial(4, "whole", 0.5)) == "004-whole"


def test_a_mean_of_what_is_left_still_beats_a_lucky_run() -> None:
    left = [trial(0, "knn", 0.7, seed=0), trial(1, "knn", 0.7, seed=1), trial(2, "knn", None, seed=2, state=FAILED)]
    assert best_trial(*left, trial(3, "lucky", 0.9)) == "000-knn"


def test_less_is_better_in_mode_min() -> None:
    assert best_trial(trial(0, "a", 0.5), trial(1, "b", 0.4), mode="min") == "001-b"
    assert best_trial(trial(0, "a", None), mode="min") is None


@pytest.mark.parametrize("seed", range(20))
def test_grouping_agrees_with_a_naive_one(seed: int) -> None:
    draw = random.Random(seed)
    trials = [
        trial(number, draw.choice(["full", "knn"]), draw.random(), seed=number, d=draw.choice([4, 8]))
        for number in range(draw.randint(1, 12))
    ]
    found = {(one.arm, one.overrides["d"]): one for one in configurations(*trials)}
    for arm in ("full", "knn"):
        for d in (4, 8):
            values = [t.metrics["val/miou"] for t in trials if t.arm == arm and t.overrides["d"] == d]
            assert ((arm, d) in found) == bool(values)
            if values:
                value = found[arm, d].value
                assert value is not None
                assert value.mean == pytest.approx(fmean(values))
                assert value.count == len(values)


def test_what_keeps_to_the_constraints_is_the_best_or_what_misses_them_by_least() -> None:
    """`perf/step_ms` is 100 and the trial's number."""
    trials = [trial(0, "full", 0.5), trial(1, "knn", 0.6, d=8), trial(2, "knn", 0.7, d=9), trial(3, "knn", 0.9, d=10)]

    def best(at_most: float) -> str:
        constraints = [SearchConstraint(metric="perf/step_ms", at_most=at_most)]
        found = gather(trials, metric="val/miou", mode="max", baseline_arm="full", constraints=constraints)
        chosen = best_of((one for one in found if one.arm == "knn"), mode="max")
        assert chosen is not None
        return chosen.trial_id

    assert [best(at_most) for at_most in (50, 101, 102, 200)] == ["001-knn", "001-knn", "002-knn", "003-knn"]
