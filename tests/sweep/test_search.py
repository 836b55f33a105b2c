from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from essnet.config import Sweep
from essnet.sweep.search import ArmSearch, build_search
from tests.sweep.sweeps import tiny_sweep

SPACE: dict[str, Any] = {
    "objective.name": "knn_softmax",
    "data.num_classes": 32,
    "objective.embedding_dim": {"choice": [4, 8, 16]},
    "objective.num_neighbours": {"int": [1, 15]},
    "optimizer.lr": {"float": [1e-4, 1e-1], "log": True},
    "data.crop_size": {"choice": [32, [64, 32]]},
    "objective.renormalise": {"choice": [True, False]},
}


def sampled_sweep(folder: Path, algorithm: str, seed: int = 0, metric: str = "val/miou") -> Sweep:
    arms = {"full": {"objective.name": "full_softmax"}, "a": SPACE, "b": SPACE}
    search = {"algorithm": algorithm, "num_trials": 40, "seed": seed, "metric": metric}
    return tiny_sweep(folder, arms=arms, search=search)


def arm_search(sweep: Sweep, arm: int = 1) -> ArmSearch:
    return build_search(sweep.arms[arm], sweep.config, num_trials=20)


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_points_lie_in_the_space_and_make_valid_trials(tmp_path: Path, algorithm: str) -> None:
    sweep = sampled_sweep(tmp_path, algorithm)
    search = arm_search(sweep)
    for index in range(20):
        point = search.propose(index)
        assert point["objective.embedding_dim"] in (4, 8, 16)
        assert 1 <= point["objective.num_neighbours"] <= 15
        assert 1e-4 <= point["optimizer.lr"] <= 1e-1
        assert point["data.crop_size"] in (32, [64, 32])
        assert isinstance(point["objective.renormalise"], bool)
        sweep.trial_config(point)
        search.tell(index, point, {"val/miou": float(index)})


def test_random_search_depends_on_seed_arm_and_place_alone(tmp_path: Path) -> None:
    search = arm_search(sampled_sweep(tmp_path, "random"))
    points = [search.propose(index) for index in range(10)]
    again = arm_search(sampled_sweep(tmp_path, "random"))
    again.tell(0, points[0], {"val/miou": 0.7})  # results do not matter to it
    assert [again.propose(index) for index in (9, 3)] == [points[9], points[3]]
    assert arm_search(sampled_sweep(tmp_path, "random", seed=1)).propose(0) != points[0]
    assert arm_search(sampled_sweep(tmp_path, "random"), arm=2).propose(0) != points[0]
    assert len({str(point) for point in points}) == 10


def test_optuna_built_anew_and_told_the_same_goes_on_the_same(tmp_path: Path) -> None:
    """What resuming a sweep relies on."""

    def figures(point: Any) -> dict[str, float]:
        return {"val/miou": -abs(point["objective.num_neighbours"] - 11) - abs(point["optimizer.lr"] - 0.01)}

    search = arm_search(sampled_sweep(tmp_path, "optuna"))
    history = []
    for index in range(12):
        point = search.propose(index)
        search.tell(index, point, figures(point))
        history.append(point)
    resumed = arm_search(sampled_sweep(tmp_path, "optuna"))
    for index, point in reversed(list(enumerate(history))):
        resumed.tell(index, point, figures(point))
    assert resumed.propose(12) == search.propose(12)
    forgetful = arm_search(sampled_sweep(tmp_path, "optuna"))
    assert forgetful.propose(12) != search.propose(12)


@pytest.mark.parametrize(("metric", "sign"), [("val/miou", 1), ("perf/step_ms", -1)])
def test_optuna_learns_where_it_is_good(tmp_path: Path, metric: str, sign: int) -> None:
    search = arm_search(sampled_sweep(tmp_path, "optuna", metric=metric))
    points = []
    for index in range(40):
        point = search.propose(index)
        search.tell(index, point, {metric: -sign * abs(point["objective.num_neighbours"] - 14)})
        points.append(abs(point["objective.num_neighbours"] - 14))
    assert sum(points[-15:]) / 15 < sum(points[:7]) / 7


STEPS: dict[str, Any] = {"optimizer.lr": {"float": [0.1, 0.5], "step": 0.1}}


@pytest.mark.parametrize("seed", [5000, 2**31, 10**9])
@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_any_seed_will_do(tmp_path: Path, algorithm: str, seed: int) -> None:
    """numpy's end at 2**32 - 1."""
    sweep = tiny_sweep(tmp_path, arms={"full": STEPS}, search={"algorithm": algorithm, "num_trials": 4, "seed": seed})
    assert build_search(sweep.arms[0], sweep.config, num_trials=4).propose(3)


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_steps_of_a_float_range_are_kept_to(tmp_path: Path, algorithm: str) -> None:
    sweep = tiny_sweep(tmp_path, arms={"full": STEPS}, search={"algorithm": algorithm, "num_trials": 40})
    search = build_search(sweep.arms[0], sweep.config, num_trials=40)
    found = set()
    for index in range(40):
        point = search.propose(index)
        found.add(point["optimizer.lr"])
        search.tell(index, point, {"val/miou": float(index)})
    assert found == {0.1, 0.2, 0.3, 0.4, 0.5}


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_given_points_come_first_and_are_learned_from(tmp_path: Path, algorithm: str) -> None:
    given = [{"arm": "full", "optimizer.lr": value} for value in (0.5, 0.3)]
    sweep = tiny_sweep(
        tmp_path, arms={"full": STEPS}, search={"algorithm": algorithm, "num_trials": 40, "points": given}
    )
    search = build_search(sweep.arms[0], sweep.config, num_trials=40)
    assert [search.propose(index) for index in (1, 0)] == [{"optimizer.lr": 0.3}, {"optimizer.lr": 0.5}]
    found = []
    for index in range(30):
        point = search.propose(index)
        found.append(point["optimizer.lr"])
        search.tell(index, point, {"val/miou": -abs(point["optimizer.lr"] - 0.5)})
    assert found[:2] == [0.5, 0.3]
    if algorithm == "optuna":
        assert sum(found[15:]) / 15 > 0.4  # the space's mean is 0.3


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_hardly_any_classes_for_the_neighbours(tmp_path: Path, algorithm: str) -> None:
    """Nearly every choice of the classes is a dead end."""
    arm = {
        "objective.name": "knn_softmax",
        "data.num_classes": {"int": [1, 500]},
        "objective.num_neighbours": {"choice": [498, 499]},
    }
    sweep = tiny_sweep(tmp_path, arms={"full": arm}, search={"algorithm": algorithm, "num_trials": 20})
    search = build_search(sweep.arms[0], sweep.config, num_trials=20)
    points = []
    for index in range(20):
        points.append(search.propose(index))
        search.tell(index, points[-1], {"val/miou": float(index)})
    assert {tuple(point.values()) for point in points} == {(499, 498), (500, 498), (500, 499)}
