"""Trials that are stopped and added from another terminal, as the queue sees it; test_requests_on_ray has the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from essnet.atomic_files import write_json
from essnet.config import Sweep
from essnet.sweep.folder import FAILED, PENDING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.plan import _with_added, plan_trials, trial_counts
from essnet.sweep.requests import Requests
from essnet.sweep.trial_queue import TrialQueue
from tests.sweep.sweeps import tiny_sweep
from tests.sweep.test_trial_queue import begin, end

ARMS = {
    "full": {"objective.name": "full_softmax"},
    "knn": {
        "objective.name": "knn_softmax",
        "objective.embedding_dim": {"int": [2, 64]},
        "objective.num_neighbours": {"int": [1, 4]},
    },
}


def searched(folder: Path, **search: Any) -> tuple[Sweep, SweepFolder]:
    sweep = tiny_sweep(folder, arms=ARMS, search={"algorithm": "optuna", "num_trials": 3, **search})
    state = SweepFolder(folder / "runs")
    keys = ("name", "baseline", "metric", "mode", "tracking_uri", "parent_run_id")
    write_json(state.path / "sweep.json", {**dict.fromkeys(keys, "x"), "num_trials": 4})
    return sweep, state


def drain(queue: TrialQueue, folder: SweepFolder) -> list[TrialRecord]:
    """Run what is left, one trial after another; return it."""
    begun = []
    while (record := begin(queue, folder)) is not None:
        begun.append(record)
        end(queue, folder, record, 0.5 + record.index / 100)
    assert queue.is_done()
    return begun


@pytest.mark.parametrize("state", [PENDING, FAILED])
def test_a_trial_that_is_to_stop_is_not_run_when_the_sweep_goes_on(tmp_path: Path, state: str) -> None:
    sweep, folder = searched(tmp_path)
    queue = TrialQueue(sweep, folder)
    first, second = begin(queue, folder), begin(queue, folder)
    assert first is not None
    assert second is not None
    end(queue, folder, first, 0.5)
    folder.write_record(replace(second, state=state, error="e", failure="crash"))
    Requests(folder.path).stop(second.trial_id)
    left = drain(TrialQueue(sweep, folder), folder)
    assert [record.trial_id for record in left] == ["002-knn", "003-knn"]
    stopped = folder.record(second.trial_id)
    assert (stopped.state, stopped.error, stopped.failure) == (STOPPED, None, None)


def test_a_trial_that_came_back_into_the_queue_is_taken_out(tmp_path: Path) -> None:
    sweep, folder = searched(tmp_path)
    queue = TrialQueue(sweep, folder)
    first = begin(queue, folder)
    assert first is not None
    end(queue, folder, first, 0.5, state=PENDING)  # out of memory beside others, say
    Requests(folder.path).stop(first.trial_id)
    assert [record.trial_id for record in drain(queue, folder)] == ["001-knn", "002-knn", "003-knn"]


def test_added_trials_are_those_of_a_search_that_had_them_from_the_beginning_of_its_resume(tmp_path: Path) -> None:
    sweep, folder = searched(tmp_path)
    queue = TrialQueue(sweep, folder)
    for _ in range(3):
        record = begin(queue, folder)
        assert record is not None
        end(queue, folder, record, 0.5 + record.index / 100)
    Requests(folder.path).add_trials(4)
    Requests(folder.path).add_trials(1)
    resumed = TrialQueue(replace(sweep, added_trials=5), folder)
    would_come = resumed.next()
    live = drain(queue, folder)
    assert [record.trial_id for record in live] == [f"{index:03d}-knn" for index in range(3, 9)]
    assert would_come == replace(live[0], state=PENDING)
    assert (folder.state()["num_trials"], folder.state()["added_trials"]) == (9, 5)


def test_trials_added_after_the_end_are_run_by_the_next(tmp_path: Path) -> None:
    sweep, folder = searched(tmp_path)
    drain(TrialQueue(sweep, folder), folder)
    Requests(folder.path).add_trials(2)
    again = replace(sweep, added_trials=Requests(folder.path).added_trials())
    assert len(plan_trials(again)) == 6
    assert [record.trial_id for record in drain(TrialQueue(again, folder), folder)] == ["004-knn", "005-knn"]


def test_arms_get_added_trials_as_they_have_trials(tmp_path: Path) -> None:
    arms = {"full": ARMS["full"], "a": {**ARMS["knn"], "share": 0.75}, "b": ARMS["knn"]}
    sweep = tiny_sweep(tmp_path, arms=arms, search={"algorithm": "random", "num_trials": 24})
    assert trial_counts(sweep) == {"full": 1, "a": 18, "b": 6}
    assert trial_counts(replace(sweep, added_trials=8)) == {"full": 1, "a": 24, "b": 8}


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), number=st.integers(0, 60))
def test_one_more_is_one_more_of_one_arm(counts: list[int], number: int) -> None:
    by_arm = {str(place): count for place, count in enumerate(counts)}
    before, after = _with_added(by_arm, number), _with_added(by_arm, number + 1)
    assert sum(before.values()) == sum(counts) + number
    assert sorted(after[name] - before[name] for name in by_arm) == [*[0] * (len(counts) - 1), 1]
    ideal = {name: number * count / sum(counts) for name, count in by_arm.items()}
    assert all(abs(before[name] - by_arm[name] - ideal[name]) <= len(counts) for name in by_arm)
