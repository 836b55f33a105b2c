from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from essnet.config import InputError, Sweep
from essnet.sweep.plan import grid_points, plan_trials, replicate_counts, trial_counts
from tests.sweep.sweeps import tiny_sweep


def places(sweep: Sweep) -> list[tuple[Any, ...]]:
    """The plan as arm, place in the arm and, of a replicate, seed."""
    return [
        (planned.arm.name, planned.arm_index, *([] if planned.seed is None else [planned.seed]))
        for planned in plan_trials(sweep)
    ]


def test_grid_has_every_point_and_the_baseline_first(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path)
    assert trial_counts(sweep) == {"full": 1, "knn": 4}
    assert places(sweep) == [("full", 0), ("knn", 0), ("knn", 1), ("knn", 2), ("knn", 3)]
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
    with pytest.raises(InputError, match=r"search\.num_trials=1 leaves arms without a trial: b; take more"):
        trial_counts(sweep)


def test_the_number_of_trials_has_to_be_given(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, search={"algorithm": "random"})
    with pytest.raises(InputError, match=r"search\.num_trials: is missing; search\.algorithm=random needs to know"):
        trial_counts(sweep)


EMBEDDING_DIM: dict[str, Any] = {"objective.embedding_dim": {"int": [1, 9]}}


def dealt(folder: Path, num_trials: int | None, options: dict[str, dict[str, Any]], **search: Any) -> dict[str, int]:
    arms = {
        "full": {"objective.name": "full_softmax"},
        **{name: {**EMBEDDING_DIM, **own} for name, own in options.items()},
    }
    counts = {} if num_trials is None else {"num_trials": num_trials}
    counted = trial_counts(tiny_sweep(folder, arms=arms, search={"algorithm": "random", **counts, **search}))
    assert counted.pop("full") == 1
    return counted


@pytest.mark.parametrize(
    ("num_trials", "options", "counts"),
    [
        (20, {"a": {"num_trials": 7}, "b": {}, "c": {}}, {"a": 7, "b": 7, "c": 6}),
        (20, {"a": {"share": 0.5}, "b": {}, "c": {"num_trials": 2}}, {"a": 10, "b": 8, "c": 2}),
        (7, {"a": {"share": 0.5}, "b": {"share": 0.5}}, {"a": 4, "b": 3}),
        (10, {"a": {"share": 1 / 3}, "b": {"share": 1 / 3}, "c": {"share": 1 / 3}}, {"a": 3, "b": 4, "c": 3}),
        (None, {"a": {"num_trials": 3}, "b": {"num_trials": 5}}, {"a": 3, "b": 5}),
        (8, {"a": {"num_trials": 3}, "b": {"num_trials": 5}}, {"a": 3, "b": 5}),
    ],
)
def test_arms_may_ask_for_trials(
    tmp_path: Path, num_trials: int | None, options: dict[str, dict[str, Any]], counts: dict[str, int]
) -> None:
    assert dealt(tmp_path, num_trials, options) == counts


@pytest.mark.parametrize(
    ("num_trials", "options", "message"),
    [
        (None, {"a": {"num_trials": 3}, "b": {}}, "search.num_trials: is missing"),
        (None, {"a": {"share": 0.5}, "b": {"num_trials": 2}}, "search.num_trials: is missing"),
        (
            9,
            {"a": {"num_trials": 3}, "b": {"num_trials": 5}},
            "search.num_trials=9, but num_trials and share of the arms make 8; let them add up, or leave an arm "
            "without either",
        ),
        (9, {"a": {"share": 0.9}}, "search.num_trials=9, but num_trials and share of the arms make 8"),
        (
            5,
            {"a": {"num_trials": 9}, "b": {}},
            "search.num_trials=5, but num_trials and share of the arms make 9; at least 9",
        ),
        (9, {"a": {"num_trials": 9}, "b": {}}, "search.num_trials=9 leaves arms without a trial: b; take more"),
        (5, {"a": {"share": 0.05}, "b": {}}, "search.num_trials=5 leaves arms without a trial: a; take more, or less"),
        (5, {}, "search.num_trials=5, but no arm has a search space; leave it out"),
    ],
)
def test_numbers_of_trials_that_do_not_fit(
    tmp_path: Path, num_trials: int | None, options: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError) as error:
        dealt(tmp_path, num_trials, options)
    assert str(error.value).startswith(message)


def test_more_points_than_trials(tmp_path: Path) -> None:
    points = [{"arm": "a", "objective.embedding_dim": value} for value in (1, 2, 3)]
    assert dealt(tmp_path, 3, {"a": {}}, points=points) == {"a": 3}
    with pytest.raises(InputError, match=r"search\.points: 3 of arm a, which has 2 trials; take fewer, or more trials"):
        dealt(tmp_path, 2, {"a": {}}, points=points)


@pytest.mark.parametrize(
    ("algorithm", "arm", "message"),
    [
        ("grid", {**EMBEDDING_DIM, "share": 0.5}, "arms.a: share: grid runs every point; leave it out"),
        ("grid", {**EMBEDDING_DIM, "num_trials": 5}, "arms.a: num_trials: grid runs every point; leave it out"),
        ("random", {"num_trials": 5}, "arms.a: num_trials: without a search space it has one trial; leave it out"),
    ],
)
def test_arms_whose_number_of_trials_is_known(
    tmp_path: Path, algorithm: str, arm: dict[str, Any], message: str
) -> None:
    arms = {"full": {"objective.name": "full_softmax"}, "a": arm}
    with pytest.raises(InputError) as error:
        trial_counts(tiny_sweep(tmp_path, arms=arms, search={"algorithm": algorithm}))
    assert str(error.value) == message


def test_a_reference_takes_its_turn_after_the_baseline(tmp_path: Path) -> None:
    arms = {
        "a": EMBEDDING_DIM,
        "paper": {"reference": True, "objective.embedding_dim": 3},
        "full": {"objective.name": "full_softmax"},
    }
    sweep = tiny_sweep(tmp_path, arms=arms)
    assert [planned.arm.name for planned in plan_trials(sweep)][:4] == ["full", "a", "paper", "a"]
    assert sweep.references == {"full", "paper"}


def test_a_float_range_has_no_grid(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax", "optimizer.lr": {"float": [1e-4, 1e-2], "log": True}}}
    with pytest.raises(InputError, match=r"arms\.full\.optimizer\.lr: a float range has no grid"):
        plan_trials(tiny_sweep(tmp_path, arms=arms))


def test_a_float_range_with_steps_has_a_grid(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax", "optimizer.lr": {"float": [0.1, 0.4], "step": 0.1}}}
    sweep = tiny_sweep(tmp_path, arms=arms)
    assert [point["optimizer.lr"] for point in grid_points(sweep.arms[0])] == [0.1, 0.2, 0.3, 0.4]
    assert trial_counts(sweep) == {"full": 4}


def test_a_grid_without_end_is_refused(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax", "seed": {"int": [0, 10**12]}}}
    with pytest.raises(InputError, match=r"arms\.full: a grid of 1000000000001 trials; at most 10000"):
        trial_counts(tiny_sweep(tmp_path, arms=arms, baseline="full"))
    arms = {
        "full": {"objective.name": "full_softmax", "seed": {"int": [0, 10**12]}, "optimizer.lr": {"choice": [0.1, 0.2]}}
    }
    with pytest.raises(InputError, match=r"arms\.full: a grid of 2000000000002 trials; at most 10000"):
        trial_counts(tiny_sweep(tmp_path, arms=arms, baseline="full"))


def test_replicates_of_the_best_come_last_but_those_of_the_baseline_first(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, replicate={"top": 2, "seeds": [0, 4, 5]})
    assert places(sweep) == [
        ("full", 0), ("full", 0, 4), ("full", 0, 5),
        ("knn", 0), ("knn", 1), ("knn", 2), ("knn", 3),
        ("knn", 0, 4), ("knn", 0, 5), ("knn", 1, 4), ("knn", 1, 5),
    ]  # fmt: skip
    assert replicate_counts(sweep) == {"full": 2, "knn": 4}


def test_a_searched_baseline_is_replicated_once_its_best_is_known(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, baseline="knn", replicate={"seeds": [7, 8]})
    assert places(sweep)[:4] == [("knn", 0), ("knn", 1), ("knn", 2), ("knn", 3)]
    assert places(sweep)[4:] == [("full", 0), ("knn", 0, 7), ("knn", 0, 8), ("full", 0, 7), ("full", 0, 8)]


def test_seeds_are_searched_or_replicated(tmp_path: Path) -> None:
    arms = {"full": {"objective.name": "full_softmax"}, "knn": {"seed": {"choice": [0, 1]}}}
    sweep = tiny_sweep(tmp_path, arms=arms, replicate={"seeds": [0, 1]})
    with pytest.raises(InputError, match=r"arms\.knn\.seed: is searched, and replicate\.seeds sets it too"):
        replicate_counts(sweep)
