from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import InputError
from essnet.sweep.plan import grid_points, plan_trials, trial_counts
from tests.sweep.sweeps import tiny_sweep


def test_grid_has_every_point_and_the_baseline_first(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path)
    assert trial_counts(sweep) == {"full": 1, "knn": 4}
    assert [planned.trial_id for planned in plan_trials(sweep)] == [
        "000-full", "001-knn", "002-knn", "003-knn", "004-knn",
    ]  # fmt: skip
    points = grid_points(sweep.arms[1])
    found = {(point["objective.embedding_dim"], point["objective.num_neighbours"]) for point in points}
    assert found == {(2, 1), (2, 2), (4, 1), (4, 2)}
    assert len(points) == 4


def test_the_baseline_is_first_wherever_it_stands_and_arms_take_turns(tmp_path: Path) -> None:
    arms = {
        "a": {"objective.embedding_dim": {"choice": [1, 2, 3]}},
        "b": {"objective.embedding_dim": {"int": [2, 6], }},
        "base": {"objective.name": "full_softmax"},
    }  # fmt: skip
    order = [planned.arm.name for planned in plan_trials(tiny_sweep(tmp_path, arms=arms, baseline="base"))]
    assert order == ["base", "a", "b", "a", "b", "a", "b", "b", "b"]


@pytest.mark.parametrize(("num_trials", "shares"), [(2, (1, 1)), (5, (3, 2)), (8, (4, 4))])
def test_sampled_trials_are_dealt_evenly(tmp_path: Path, num_trials: int, shares: tuple[int, int]) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "a": {"objective.embedding_dim": {"int": [1, 9]}},
        "b": {"objective.embedding_dim": {"int": [1, 9]}},
    }
    search = {"algorithm": "random", "num_trials": num_trials}
    assert trial_counts(tiny_sweep(tmp_path, arms=arms, search=search)) == {
        "full": 1,
        "a": shares[0],
        "b": shares[1],
    }


def test_too_few_trials_for_the_arms(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "a": {"objective.embedding_dim": {"int": [1, 9]}},
        "b": {"objective.embedding_dim": {"int": [1, 9]}},
    }
    sweep = tiny_sweep(tmp_path, arms=arms, search={"algorithm": "random", "num_trials": 1})
    with pytest.raises(InputError, match=r"search\.num_trials=1 leaves some of the 2 searched arms"):
        trial_counts(sweep)


def test_a_float_range_has_no_grid(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax", "optimizer.lr": {"float": [1e-4, 1e-2], "log": True}}}
    with pytest.raises(InputError, match=r"arms\.full\.optimizer\.lr: a float range has no grid"):
        plan_trials(tiny_sweep(tmp_path, arms=arms))


def test_a_grid_without_end_is_refused(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax", "seed": {"int": [0, 10**12]}}}
    with pytest.raises(InputError, match=r"arms\.full: a grid of 1000000000001 trials; at most 10000"):
        trial_counts(tiny_sweep(tmp_path, arms=arms, baseline="full"))
