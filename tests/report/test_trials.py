"""Reading trials: what is damaged or missing, and what is read once only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from essnet.report import ComparedTrial, TrialReader
from essnet.sweep.folder import COMPLETED, FAILED, PENDING, RUNNING, STOPPED, Failure, SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return make_sweep_folder(tmp_path / "study")


def read(reader: TrialReader) -> ComparedTrial:
    (trial,) = reader.read(metric="val/miou", mode="max")
    return trial


def add_evaluation(folder: SweepFolder, step: int, miou: float) -> None:
    with (folder.trial("000-full") / "history.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "metrics": {"val/miou": miou}}) + "\n")


def test_an_evaluation_that_is_no_number_is_never_the_best(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {10: {"val/miou": float("nan")}, 20: {"val/miou": 0.4}})
    assert read(TrialReader(folder)).metrics["val/miou"] == 0.4


def test_evaluations_without_the_metric_are_passed_over(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {10: {"val/miou": 0.3}, 20: {"val/loss": 1.0, "perf/step_ms": 7.0}})
    trial = read(TrialReader(folder))
    assert trial.metrics == {"val/miou": 0.3, "perf/step_ms": 7.0}
    assert trial.steps == 20


def test_a_trial_without_the_metric_has_no_result(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {20: {"val/loss": 1.0, "perf/step_ms": 7.0}})
    assert read(TrialReader(folder)).metrics == {"perf/step_ms": 7.0}


@pytest.mark.parametrize("content", [b"objective: [", b"", b"- 1\n", b"objective: 7\n", b"name: x\n", b"\xff\xfe\x00"])
def test_a_damaged_configuration_leaves_the_figures(folder: SweepFolder, content: bytes) -> None:
    add_trial(folder, 0, "full", {20: {"val/miou": 0.4}})
    (folder.trial("000-full") / "config.yaml").write_bytes(content)
    trial = read(TrialReader(folder))
    assert (trial.settings, trial.metrics) == ({}, {"val/miou": 0.4})
    assert (trial.embedding_dim, trial.num_neighbours) == (None, None)


@pytest.mark.parametrize(
    ("objective", "found"),
    [
        ("{name: sampled_softmax, embedding_dim: 8, num_neighbours: 3}", (8, 3)),
        ("{name: embedding_softmax, embedding_dim: 8, num_neighbours: 3}", (8, None)),
        ("{name: full_softmax, embedding_dim: 8, num_neighbours: 3}", (None, None)),
        ("{name: 'mypkg.own:Own', embedding_dim: 8, options: {embedding_dim: 6}}", (6, None)),
        ("{name: 'mypkg.own:Own', embedding_dim: 8}", (None, None)),
        ("{name: [1], options: 3}", (None, None)),
    ],
)
def test_d_and_k_are_those_that_the_objective_looks_at(
    folder: SweepFolder, objective: str, found: tuple[int | None, int | None]
) -> None:
    add_trial(folder, 0, "knn", {10: {"val/miou": 0.5}})
    (folder.trial("000-knn") / "config.yaml").write_text(f"objective: {objective}")
    trial = read(TrialReader(folder))
    assert (trial.embedding_dim, trial.num_neighbours) == found


def test_a_trial_that_has_not_begun(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {}, state=PENDING)
    for name in ("history.jsonl", "config.yaml", "run.json"):
        (folder.trial("000-full") / name).unlink()
    trial = read(TrialReader(folder))
    assert (trial.steps, trial.metrics, trial.settings, trial.run_id) == (0, {}, {}, None)


@pytest.mark.parametrize("state", [COMPLETED, STOPPED])
def test_what_has_ended_is_read_once(folder: SweepFolder, state: str) -> None:
    add_trial(folder, 0, "full", {20: {"val/miou": 0.4}}, state=state)
    reader = TrialReader(folder)
    before = read(reader)
    (folder.trial("000-full") / "history.jsonl").unlink()  # whoever reads again finds nothing
    assert read(reader) == before
    assert read(TrialReader(folder)).metrics == {}


@pytest.mark.parametrize("state", [PENDING, RUNNING, FAILED])
def test_what_may_still_change_is_read_again(folder: SweepFolder, state: str) -> None:
    add_trial(folder, 0, "full", {10: {"val/miou": 0.4}}, state=state)
    reader = TrialReader(folder)
    assert read(reader).steps == 10
    add_evaluation(folder, 20, 0.6)
    assert (read(reader).steps, read(reader).metrics["val/miou"]) == (20, 0.6)


def test_a_trial_that_ends_between_two_looks_is_seen_to_its_end(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {10: {"val/miou": 0.4}}, state=RUNNING)
    reader = TrialReader(folder)
    read(reader)
    add_evaluation(folder, 20, 0.6)
    folder.write_record(replace(folder.record("000-full"), state=COMPLETED))
    assert (read(reader).state, read(reader).steps) == (COMPLETED, 20)


def test_a_failed_trial_that_another_process_runs_again_is_not_failed_any_more(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {}, state=FAILED, failure="crash", error="boom")
    reader = TrialReader(folder)
    assert read(reader).failure_line == "failed: 000-full: crash: boom"
    assert read(reader).failure_lines == ["failed: 000-full: crash: boom"]
    folder.write_record(replace(folder.record("000-full").tried_again(), state=RUNNING))
    assert read(reader).failure_lines == ["tried again: 000-full: crash: boom"]
    for state in (RUNNING, COMPLETED):
        folder.write_record(replace(folder.record("000-full"), state=state, error=None, failure=None))
        add_evaluation(folder, 10, 0.5)
        trial = read(reader)
        assert (trial.state, trial.error, trial.failure, trial.metrics["val/miou"]) == (state, None, None, 0.5)


def test_a_folder_that_was_made_anew_is_read_anew(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {20: {"val/miou": 0.4}})
    reader = TrialReader(folder)
    read(reader)
    add_trial(folder, 0, "full", {20: {"val/miou": 0.7}}, overrides={"optimizer.lr": 0.1})
    assert read(reader).metrics["val/miou"] == 0.7


def test_json_there_and_back(folder: SweepFolder) -> None:
    add_trial(folder, 0, "full", {20: {"val/miou": 0.4}}, seed=3, replicates="007-full", overrides={"seed": 3})
    earlier = (Failure("crash", "boom"),)
    folder.write_record(replace(folder.record("000-full"), earlier_failures=earlier))
    trial = read(TrialReader(folder))
    again = ComparedTrial.from_json(json.loads(json.dumps(trial.to_json())))
    assert again == replace(trial, settings={}, max_steps=0, curve=())


def test_null_in_json_is_no_figure() -> None:
    values = {"trial_id": "0", "arm": "a", "overrides": {}, "seed": 0, "state": COMPLETED, "steps": 1}
    assert ComparedTrial.from_json({**values, "metrics": {"val/miou": 0.5, "val/loss": None}}).metrics == {
        "val/miou": 0.5
    }
