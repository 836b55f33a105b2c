"""Trials that took unequal steps are compared at equal ones, and nothing that was stopped is called the best."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from statistics import fmean

import pytest
from rich.console import Console

from essnet.report import (
    ComparedTrial,
    answer,
    comparison_csv,
    comparison_json,
    comparison_table,
    gather,
    legend,
    load_comparison,
)
from essnet.sweep.folder import RUNNING, STOPPED, SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder

KNN = {"name": "knn_softmax"}


def curve(*values: float) -> dict[int, dict[str, float]]:
    return {10 * (place + 1): {"val/miou": value} for place, value in enumerate(values)}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder = make_sweep_folder(tmp_path / "study", num_trials=3)
    add_trial(folder, 0, "full", curve(0.3, 0.5, 0.8))
    add_trial(folder, 1, "knn", curve(0.4, 0.6), objective=KNN, state=STOPPED)
    return folder


def test_a_stopped_trial_is_compared_with_the_baseline_as_it_was_then(folder: SweepFolder) -> None:
    comparison = load_comparison(folder)
    _, knn = comparison.configurations
    assert knn.against_baseline is not None
    assert knn.against_baseline.step == 20
    assert knn.against_baseline.difference.mean == pytest.approx(0.6 - 0.5)
    values = comparison_json([comparison])["configurations"]
    assert [one["difference_step"] for one in values] == [None, 20]
    lines = list(csv.DictReader(io.StringIO(comparison_csv([comparison]))))
    assert [line["difference_step"] for line in lines] == ["", "20"]


def test_the_mark_and_what_it_means(folder: SweepFolder) -> None:
    comparison = load_comparison(folder)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison_table([comparison]))
    text = console.export_text()
    assert "+0.100*" in text
    assert "+0.000*" not in text
    assert "stopped, step 20" in text
    assert "*: both as they were at the step where the shorter of them ended" in legend([comparison])


def test_no_mark_where_steps_are_equal(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", curve(0.3, 0.5))
    add_trial(folder, 1, "knn", curve(0.4, 0.6), objective=KNN)
    assert "*" not in legend([load_comparison(folder)])


def test_the_answer_has_the_values_of_equal_steps_and_says_so(folder: SweepFolder) -> None:
    text = answer(load_comparison(folder))
    assert text.startswith("Best so far: k-nearest")
    assert "0.600 mIoU against 0.500 for the full softmax (+0.100)" in text
    assert "They took unequal steps (20 and 30): both are compared as they were at step 20." in text
    assert "It has not gone to its end" in text


def test_a_stopped_trial_stands_below_those_that_went_to_their_end(folder: SweepFolder) -> None:
    add_trial(folder, 2, "knn", curve(0.1, 0.2, 0.55), objective=KNN, point={"objective.embedding_dim": 4},
              overrides={"objective.embedding_dim": 4})  # fmt: skip
    comparison = load_comparison(folder)
    assert [one.trial_id for one in comparison.ranked()] == ["000-full", "002-knn", "001-knn"]
    assert comparison.best is not None
    assert comparison.best.trial_id == "002-knn"


def test_a_baseline_that_still_runs_is_not_compared_with_what_came_after(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", curve(0.3, 0.5), state=RUNNING)
    add_trial(folder, 1, "knn", curve(0.2, 0.4, 0.9), objective=KNN)
    text = answer(load_comparison(folder))
    assert "0.400 mIoU against 0.500 for the full softmax (-0.100)" in text
    assert "(30 and 20)" in text


def test_lengths_that_the_sweep_asks_for_are_compared_as_they_ended(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", {20: {"val/miou": 0.5}})
    add_trial(folder, 1, "knn", {30: {"val/miou": 0.9}}, objective=KNN)
    comparison = load_comparison(folder)
    assert comparison.configurations[1].difference is not None
    assert "0.900 mIoU against 0.500 for the full softmax (+0.400)" in answer(comparison)
    assert "They took unequal steps (30 and 20), as the sweep asks." in answer(comparison)
    assert "*" not in legend([comparison])


def test_without_an_evaluation_by_then_there_is_no_difference(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", {30: {"val/miou": 0.8}})
    add_trial(folder, 1, "knn", curve(0.4), objective=KNN, state=STOPPED)
    comparison = load_comparison(folder)
    assert comparison.configurations[1].difference is None
    assert comparison.configurations[0].difference is not None
    assert "They took unequal steps (10 and 30), and have no evaluation at equal ones." in answer(comparison)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mode", ["max", "min"])
def test_differences_agree_with_naive_ones(seed: int, mode: str) -> None:
    draw = random.Random(seed)
    best = max if mode == "max" else min
    trials = []
    for number in range(6):
        values = [draw.random() for _ in range(draw.randint(1, 5))]
        points = tuple((10 * (place + 1), value) for place, value in enumerate(values))
        trials.append(
            ComparedTrial(
                f"{number}", "full" if number < 3 else "knn", {"seed": number % 3}, number % 3, STOPPED,
                points[-1][0], {"val/miou": best(values)}, curve=points,
            )
        )  # fmt: skip
    baseline, knn = gather(trials, metric="val/miou", mode=mode, baseline_arm="full")
    assert baseline.against_baseline is not None
    assert baseline.against_baseline.difference.mean == 0
    expected = []
    for mine, others in zip(trials[3:], trials[:3], strict=True):
        number = min(len(mine.curve), len(others.curve))
        first, second = ([value for _, value in one.curve[:number]] for one in (mine, others))
        expected.append(best(first) - best(second))
    assert knn.difference is not None
    assert knn.difference.mean == pytest.approx(fmean(expected))
