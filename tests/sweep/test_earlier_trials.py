"""Which trials of another sweep an arm could have run: against an oracle that tries all that it could."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given, settings

from essnet.config import InputError, TrialConfig
from essnet.config.overrides import flatten
from essnet.sweep.earlier_trials import fit
from essnet.sweep.plan import grid_points
from tests.sweep.sweeps import tiny_sweep
from tests.sweep.test_searches_agree import REFUSED, VALUES, arms, as_text

ELSEWHERE = {
    "name": "other",
    "seed": 17,
    "trainer.num_threads": 5,
    "trainer.log_every_steps": 3,
    "data.num_workers": 1,
    "tracking.experiment": "other",
}


def what_counts(trial: TrialConfig) -> dict[str, Any]:
    values = dict(flatten(trial.model_dump()))
    return {path: value for path, value in values.items() if path not in ELSEWHERE and path != "tracking.uri"}


@settings(deadline=None, max_examples=60)
@given(arms(), st.lists(st.tuples(st.integers(0), st.data()), min_size=1, max_size=12))
def test_a_trial_fits_where_the_arm_would_run_it(drawn: Any, changes: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            sweep = tiny_sweep(Path(folder), arms={"full": {"objective.name": "full_softmax"}, "a": drawn[0]})
        except InputError as error:
            if not any(reason in str(error) for reason in REFUSED):
                raise
            assume(False)
    arm = sweep.arms[1]
    points = grid_points(arm)
    could_run = [what_counts(sweep.trial_config({**arm.fixed, **point})) for point in points]
    for place, data in changes:
        path, value = data.draw(st.sampled_from([(path, value) for path in VALUES for value in VALUES[path]]))
        changed = {path: value} if data.draw(st.booleans()) else {}
        try:
            trial = sweep.trial_config({**ELSEWHERE, **arm.fixed, **points[place % len(points)], **changed})
        except InputError:
            continue
        found = fit(sweep, arm, trial)
        # Seeds do not count, except where they are searched.
        expected = [
            point
            for point, one in zip(points, could_run, strict=True)
            if one == what_counts(trial) and point.get("seed", trial.seed) == trial.seed
        ]
        assert (not found.differences) == bool(expected)
        if expected:
            assert as_text(found.point) in map(as_text, expected)


KNN = {
    "objective.name": "knn_softmax",
    "objective.embedding_dim": {"choice": [2, 4]},
    "optimizer.lr": {"float": [1e-3, 1e-1], "log": True},
    "objective.num_neighbours": {"int": [1, 3], "when": {"objective.embedding_dim": 4}},
}


def differences(folder: Path, changes: dict[str, Any], **search: Any) -> tuple[str, ...]:
    sweep = tiny_sweep(
        folder,
        arms={"full": {"objective.name": "full_softmax"}, "knn": KNN},
        search={"algorithm": "random", "num_trials": 3, **search},
    )
    trial = {"objective.name": "knn_softmax", "objective.embedding_dim": 2, **changes}
    return fit(sweep, sweep.arms[1], sweep.trial_config(trial)).differences


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        (ELSEWHERE, ()),
        ({"optimizer.lr": 0.1}, ()),
        ({"objective.embedding_dim": 4, "objective.num_neighbours": 3}, ()),
        ({"objective.num_neighbours": 3}, ("differ in objective.num_neighbours",)),
        ({"trainer.max_steps": 7}, ("differ in trainer.max_steps",)),
        (
            {"trainer.max_steps": 7, "data.num_classes": 6},
            ("differ in data.num_classes", "differ in trainer.max_steps"),
        ),
        (
            {"optimizer.lr": 0.5},
            ("lie outside the space (optimizer.lr: found 0.5; the space is [0.001, 0.1, log])",),
        ),
        (
            {"objective.embedding_dim": 3},
            ("lie outside the space (objective.embedding_dim: found 3; the space is {2, 4})",),
        ),
        ({"objective.name": "embedding_softmax"}, ("differ in objective.name",)),
    ],
)
def test_what_stands_between(tmp_path: Path, changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert differences(tmp_path, changes) == expected


def test_a_key_that_the_trial_has_not(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, arms={"full": {"data.val_images": {"choice": [8, 16]}}})
    trial = sweep.trial_config({"data": {"name": "coco_lvis", "root": "lvis"}})
    found = fit(sweep, sweep.arms[0], trial).differences
    assert found == ("lie outside the space (data.val_images: is missing)",)


def test_too_few_classes_for_the_neighbours(tmp_path: Path) -> None:
    arm = {
        "objective.name": "knn_softmax",
        "data.num_classes": {"choice": [5, 9]},
        "objective.num_neighbours": {"choice": [6, 7]},
    }
    sweep = tiny_sweep(tmp_path, arms={"full": arm})
    trial = sweep.trial_config({"objective.name": "knn_softmax", "data.num_classes": 5, "objective.num_neighbours": 3})
    found = fit(sweep, sweep.arms[0], trial).differences
    assert found == ("have too few classes for the neighbours that are searched",)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("val/miou", set()),
        ("perf/loss_memory_mib", {"differ in trainer.device"}),
        ("perf/step_ms", {"differ in trainer.device", "differ in trainer.num_threads", "differ in data.num_workers"}),
    ],
)
def test_times_and_memory_are_those_of_the_place(tmp_path: Path, metric: str, expected: set[str]) -> None:
    # A GPU; where there are some, `auto` is one of them.
    device = "cpu" if torch.cuda.is_available() else "cuda"
    place = {"trainer.device": device, "trainer.num_threads": 2, "data.num_workers": 1}
    assert set(differences(tmp_path, place, metric=metric)) == expected
    limit = [{"metric": metric, "at_least": 0}]
    assert set(differences(tmp_path, place, constraints=limit)) == expected


def test_a_trial_that_ran_on_what_auto_is_here_ran_on_the_same(tmp_path: Path) -> None:
    place = {"trainer.device": "cuda" if torch.cuda.is_available() else "cpu"}
    assert differences(tmp_path, place, metric="perf/loss_memory_mib") == ()
