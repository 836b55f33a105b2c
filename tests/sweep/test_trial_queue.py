"""What comes next in a sweep: the same, however often the driver dies and whatever ends first."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from essnet.config import Sweep
from essnet.sweep.folder import COMPLETED, ENDED, FAILED, PENDING, RUNNING, STOPPED, SweepFolder, TrialRecord
from essnet.sweep.trial_queue import TrialQueue
from tests.sweep.sweeps import TINY_TRIAL, tiny_sweep


def begin(queue: TrialQueue, folder: SweepFolder) -> TrialRecord | None:
    record = queue.next()
    if record is not None:
        folder.write_record(replace(record, state=RUNNING))
    return record


def end(
    queue: TrialQueue,
    folder: SweepFolder,
    record: TrialRecord,
    miou: float,
    *,
    pixel_accuracy: float = 0.5,
    **values: Any,
) -> None:
    metrics = {"step": 6, "metrics": {"val/miou": miou, "val/pixel_accuracy": pixel_accuracy}}
    (folder.trial(record.trial_id) / "history.jsonl").write_text(json.dumps(metrics) + "\n")
    folder.write_record(replace(record, **{"state": COMPLETED, **values}))
    queue.end(record.trial_id)


def run_all(sweep: Sweep, folder: SweepFolder, mious: dict[int, float] | None = None) -> list[TrialRecord]:
    """Run a sweep one trial at a time; `mious` are those of trials by their index, 0.5 by default."""
    queue = TrialQueue(sweep, folder)
    while (record := begin(queue, folder)) is not None:
        end(queue, folder, record, (mious or {}).get(record.index, 0.5))
    assert queue.is_done()
    return folder.records()


def test_the_best_of_each_arm_are_replicated(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, replicate={"top": 2, "seeds": [0, 4]})
    records = run_all(sweep, SweepFolder(tmp_path / "runs"), {2: 0.6, 3: 0.4, 4: 0.9, 5: 0.8})
    found = [(record.trial_id, record.replicates, record.seed) for record in records]
    assert found == [
        ("000-full", None, 0), ("001-full", "000-full", 4),
        ("002-knn", None, 0), ("003-knn", None, 0), ("004-knn", None, 0), ("005-knn", None, 0),
        ("006-knn", "004-knn", 4), ("007-knn", "005-knn", 4),
    ]  # fmt: skip
    assert records[6].overrides == {**records[4].overrides, "seed": 4}
    assert records[6].point == records[4].point


def test_only_trials_that_reached_their_end_are_replicated(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, replicate={"top": 3, "seeds": [0, 4]})
    folder = SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    states = {"003-knn": FAILED, "004-knn": STOPPED}
    while (record := begin(queue, folder)) is not None:
        end(
            queue,
            folder,
            record,
            0.9 if record.trial_id in states else 0.5,
            state=states.get(record.trial_id, COMPLETED),
        )
    assert queue.is_done()
    assert [record.replicates for record in folder.records()[6:]] == ["002-knn", "005-knn"]


def test_replicates_wait_for_the_search_of_their_arm(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, replicate={"seeds": [0, 4]})
    folder = SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    running = [begin(queue, folder) for _ in range(6)]
    assert None not in running
    assert begin(queue, folder) is None
    assert not queue.is_done()
    for place, record in enumerate(running):
        assert record is not None
        end(queue, folder, record, 0.1 * place)
    last = begin(queue, folder)
    assert last is not None
    assert last.replicates == "005-knn"


def test_failed_trials_are_tried_again_by_the_next_driver_only(tmp_path: Path) -> None:
    sweep, folder = tiny_sweep(tmp_path), SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    while (record := begin(queue, folder)) is not None:
        end(queue, folder, record, 0.5, state=FAILED if record.index == 3 else COMPLETED)
    assert queue.is_done()
    queue = TrialQueue(sweep, folder)
    assert not queue.is_done()
    again = begin(queue, folder)
    assert again is not None
    assert again.trial_id == "003-knn"


def test_a_trial_that_is_to_run_alone_comes_last(tmp_path: Path) -> None:
    """Before that, others would take each core that becomes free, and it would wait in a place of its own."""
    sweep, folder = tiny_sweep(tmp_path), SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    first = begin(queue, folder)
    assert first is not None
    end(queue, folder, first, 0.0, state=PENDING, alone=True)
    for _ in range(4):
        record = begin(queue, folder)
        assert record is not None
        assert not record.alone
        end(queue, folder, record, 0.5)
    last = begin(queue, folder)
    assert last is not None
    assert (last.trial_id, last.alone) == ("000-full", True)


def test_a_baseline_that_failed_is_not_replicated(tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path, replicate={"seeds": [0, 4]})
    folder = SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    baseline = begin(queue, folder)
    assert baseline is not None
    end(queue, folder, baseline, 0.0, state=FAILED)
    begun = []
    while (record := begin(queue, folder)) is not None:
        begun.append(record.arm)
        end(queue, folder, record, 0.5)
    assert begun == ["knn"] * 5


def test_a_sweep_whose_budget_is_spent_is_done(tmp_path: Path) -> None:
    search = {"algorithm": "random", "num_trials": 9, "step_budget": 20}
    sweep, folder = tiny_sweep(tmp_path, search=search), SweepFolder(tmp_path / "runs")
    run_all(sweep, folder)
    assert TrialQueue(sweep, folder).is_done()


def test_no_trial_of_the_search_begins_beyond_the_budget(tmp_path: Path) -> None:
    search = {"algorithm": "random", "num_trials": 9, "step_budget": 20}
    sweep = tiny_sweep(tmp_path, search=search, replicate={"seeds": [0, 4]})
    records = run_all(sweep, SweepFolder(tmp_path / "runs"))
    # Of six steps each: the fourth passes the budget. The replicates come on top.
    assert [record.arm for record in records if record.replicates is None] == ["full", "knn", "knn", "knn"]
    assert len(records) == 6


def test_a_stopped_trial_leaves_the_steps_that_it_did_not_take_to_others(tmp_path: Path) -> None:
    search = {"algorithm": "random", "num_trials": 9, "step_budget": 20}
    sweep = tiny_sweep(tmp_path, search=search, base={**TINY_TRIAL, "trainer": {"max_steps": 10}})
    folder = SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    first, second = begin(queue, folder), begin(queue, folder)
    assert first is not None
    assert second is not None
    assert begin(queue, folder) is None  # the two may take all of the 20 steps
    assert not queue.is_done()
    end(queue, folder, second, 0.5, state=STOPPED)  # after 6 of its 10
    third = begin(queue, folder)
    assert third is not None
    end(queue, folder, first, 0.5)
    assert begin(queue, folder) is None
    end(queue, folder, third, 0.5)
    assert begin(queue, folder) is None
    assert queue.is_done()
    assert TrialQueue(sweep, folder).is_done()


def test_hours_are_counted_over_all_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("essnet.sweep.budget.time.monotonic", lambda: now[0])
    sweep = tiny_sweep(tmp_path, search={"algorithm": "random", "num_trials": 9, "time_budget": 0.5})
    folder = SweepFolder(tmp_path / "runs")
    begun = []
    for _ in range(3):
        queue = TrialQueue(sweep, folder)
        for _ in range(2):
            record = begin(queue, folder)
            begun.append(record and record.trial_id)
            if record is not None:
                end(queue, folder, record, 0.5)
            now[0] += 500
            queue.note_time(at_once=True)
    assert begun == ["000-full", "001-knn", "002-knn", "003-knn", None, None]


def test_more_trials_later_leave_the_old_ones_where_they_are(tmp_path: Path) -> None:
    arms = {
        "full": {"objective.name": "full_softmax"},
        "a": {"objective.embedding_dim": {"int": [1, 99]}},
        "b": {"objective.embedding_dim": {"int": [1, 99]}, "num_trials": 1},
    }
    folder = SweepFolder(tmp_path / "runs")
    replicate = {"seeds": [0, 4]}
    few = tiny_sweep(tmp_path, arms=arms, search={"algorithm": "random", "num_trials": 4}, replicate=replicate)
    before = run_all(few, folder, {2: 0.4, 3: 0.5, 4: 0.9})
    more = tiny_sweep(tmp_path, arms=arms, search={"algorithm": "random", "num_trials": 6}, replicate=replicate)
    after = run_all(more, folder, {len(before): 0.95})
    assert after[: len(before)] == before
    # Two more of arm a, of which the first is the best now, and its replicate.
    added = [(record.arm, record.replicates) for record in after[len(before) :]]
    assert added == [("a", None), ("a", None), ("a", after[len(before)].trial_id)]


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_time_a_sweep_runs_the_same_trials(tmp_path: Path, seed: int) -> None:
    """Trials end in any order, two at a time, drivers die: each configuration is run to its end once."""
    chance = random.Random(seed)
    sweep = tiny_sweep(tmp_path, replicate={"top": 2, "seeds": [0, 4, 5]})

    def miou(record: TrialRecord) -> float:
        return random.Random(json.dumps(record.overrides)).random()

    def ran(folder: SweepFolder) -> set[str]:
        records = folder.records()
        assert {record.state for record in records} == {COMPLETED}
        found = [json.dumps([record.arm, record.overrides]) for record in records]
        assert len(set(found)) == len(found)
        return set(found)

    whole, cut = SweepFolder(tmp_path / "whole"), SweepFolder(tmp_path / "cut")
    queue = TrialQueue(sweep, whole)
    while (record := begin(queue, whole)) is not None:
        end(queue, whole, record, miou(record))

    queue, running = TrialQueue(sweep, cut), []
    ends: dict[str, int] = {}
    while True:
        action = chance.random()
        if action < 0.2:
            queue, running = TrialQueue(sweep, cut), []
        elif len(running) < 2 and action < 0.6:
            record = begin(queue, cut)
            if record is not None:
                running.append(record)
            elif queue.is_done():
                break
        elif running:
            record = running.pop(chance.randrange(len(running)))
            if not record.alone and chance.random() < 0.15:
                end(queue, cut, record, 0.0, state=PENDING, alone=True)
                continue
            end(queue, cut, record, miou(record))
            ends[record.trial_id] = ends.get(record.trial_id, 0) + 1
    assert ran(cut) == ran(whole)
    assert set(ends.values()) == {1}
    assert all(record.state in ENDED for record in cut.records())


def test_what_breaks_a_constraint_is_not_replicated_before_what_keeps_it(tmp_path: Path) -> None:
    search = {
        "algorithm": "random",
        "num_trials": 3,
        "constraints": [{"metric": "val/pixel_accuracy", "at_least": 0.5}],
    }
    sweep = tiny_sweep(tmp_path, search=search, replicate={"seeds": [0, 4]})
    folder = SweepFolder(tmp_path / "runs")
    queue = TrialQueue(sweep, folder)
    while (record := begin(queue, folder)) is not None:
        accuracy = 0.6 if record.index == 3 else 0.4
        end(queue, folder, record, 0.3 if record.index == 3 else 0.9, pixel_accuracy=accuracy)
    assert folder.records()[5].replicates == "003-knn"
