from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from essnet.config import InputError, TrialConfig
from essnet.training import checkpoint
from essnet.training.checkpoint import open_checkpoint
from essnet.training.result import read_history
from essnet.training.trainer import Trainer
from tests.training.tiny import OBJECTIVES, RecordingTracker, assert_same, tiny_trial

SGD_POLY = {"optimizer.name": "sgd", "optimizer.lr": 0.05, "schedule.name": "poly"}
ADAMW_ONE_CYCLE = {"optimizer.name": "adamw", "optimizer.lr": 4e-3, "schedule.name": "one_cycle"}
RECIPES = {"sgd_poly": SGD_POLY, "adamw_one_cycle": ADAMW_ONE_CYCLE}


class Crash(Exception):
    pass


def run(
    config: TrialConfig,
    directory: Path,
    tracker: RecordingTracker,
    *,
    stop_at: int | None = None,
    crash_at: int | None = None,
    resume: bool = False,
) -> Trainer:
    reached = 0

    def progress(step: int, _: Any) -> None:
        nonlocal reached
        reached = step
        if step == crash_at:
            raise Crash

    trainer = Trainer(
        config,
        directory=directory,
        progress=progress,
        should_stop=lambda: reached == stop_at,  # no cycle with the trainer: see the test of that
        resume=resume,
    )
    trainer.track_with(tracker)
    if crash_at is None:
        result = trainer.train()
        assert result.interrupted == (stop_at is not None)
        assert result.steps == trainer.step
    else:
        with pytest.raises(Crash):
            trainer.train()
    return trainer


def history(directory: Path) -> list[tuple[int, dict[str, float]]]:
    """The evaluations without timings and memory."""
    return [
        (entry["step"], {key: value for key, value in entry["metrics"].items() if key.startswith("val/")})
        for entry in read_history(directory / "history.jsonl")
    ]


def assert_equal_runs(first: Trainer, second: Trainer) -> None:
    assert first.step == second.step
    assert_same(first.trial.model.state_dict(), second.trial.model.state_dict())
    assert_same(first.optimizer.state_dict(), second.optimizer.state_dict())
    assert_same(first.schedule.state_dict(), second.schedule.state_dict())
    assert history(first.directory) == history(second.directory)
    states = [open_checkpoint(trainer.checkpoints.root / "last").trainer_state() for trainer in (first, second)]
    for state in states:
        del state["performance"]
    assert_same(*states)
    assert_same(*(open_checkpoint(trainer.checkpoints.root / "last").weights() for trainer in (first, second)))
    bests = [open_checkpoint(trainer.checkpoints.root / "best") for trainer in (first, second)]
    assert bests[0].path.resolve().name == bests[1].path.resolve().name
    assert_same(bests[0].weights(), bests[1].weights())


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path, objective: str, recipe: str) -> None:
    config = tiny_trial({"objective.name": objective, **RECIPES[recipe]})
    whole_tracker, tracker = RecordingTracker(), RecordingTracker()
    whole = run(config, tmp_path / "whole", whole_tracker)

    directory = tmp_path / "parts"
    run(config, directory, tracker, stop_at=1)  # before the first evaluation
    run(config, directory, tracker, crash_at=4, resume=True)  # steps 3 and 4 are lost
    resumed = run(config, directory, tracker, resume=True)

    assert_equal_runs(whole, resumed)
    assert tracker.exact_points() == whole_tracker.exact_points()
    assert {step for key, step in tracker.points if key == "train/loss"} == set(range(1, 7))


EMBEDDINGS_ADAMW = {
    "objective.name": "embedding_softmax",
    "optimizer": {"name": "adamw", "lr": 2e-3, "encoder_lr_factor": 0.25, "class_embeddings_lr_factor": 10},
}
RECOMMENDED = {
    "that of the experiments": {**EMBEDDINGS_ADAMW, "objective.similarity": "dot", "schedule.name": "one_cycle"},
    "cosine after a warm-up": {**EMBEDDINGS_ADAMW, "schedule": {"name": "cosine", "warmup_steps": 2}},
    "multi_poly after a warm-up": {**EMBEDDINGS_ADAMW, "schedule": {"name": "multi_poly", "warmup_steps": 2}},
    "a learned scale": {**EMBEDDINGS_ADAMW, "objective.learn_logit_scale": True, "schedule.name": "one_cycle"},
}


@pytest.mark.parametrize("recipe", RECOMMENDED)
def test_with_recommended_recipes_too(tmp_path: Path, recipe: str) -> None:
    config = tiny_trial(RECOMMENDED[recipe])
    whole_tracker, tracker = RecordingTracker(), RecordingTracker()
    whole = run(config, tmp_path / "whole", whole_tracker)
    directory = tmp_path / "parts"
    run(config, directory, tracker, stop_at=1)  # within the warm-up
    run(config, directory, tracker, crash_at=5, resume=True)  # back to step 4, behind it
    resumed = run(config, directory, tracker, resume=True)
    assert_equal_runs(whole, resumed)
    assert tracker.exact_points() == whole_tracker.exact_points()
    rates = {whole_tracker.points["train/lr", step] for step in range(1, 7)}
    assert len(rates) > 3  # of a warm-up and what follows
    if config.objective.learn_logit_scale:
        assert resumed.trial.model.output_layer.log_logit_scale.exp() != config.objective.logit_scale


LOOP_OPTIONS = {
    "average": {"trainer.ema_decay": 0.9},
    "accumulation": {"trainer.accumulate_steps": 3, "trainer.clip_gradient_norm": 0.5},
    "both in bfloat16": {"trainer.ema_decay": 0.9, "trainer.accumulate_steps": 2, "trainer.precision": "bfloat16"},
}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("option", LOOP_OPTIONS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_with_averages_and_accumulation_too(tmp_path: Path, objective: str, option: str, num_workers: int) -> None:
    config = tiny_trial(
        {"objective.name": objective, "data.num_workers": num_workers, **ADAMW_ONE_CYCLE, **LOOP_OPTIONS[option]}
    )
    whole_tracker, tracker = RecordingTracker(), RecordingTracker()
    whole = run(config, tmp_path / "whole", whole_tracker)
    directory = tmp_path / "parts"
    run(config, directory, tracker, stop_at=3)
    resumed = run(config, directory, tracker, resume=True)
    assert_equal_runs(whole, resumed)
    assert_same(whole.state.evaluated_model.state_dict(), resumed.state.evaluated_model.state_dict())
    assert tracker.exact_points() == whole_tracker.exact_points()


@pytest.mark.parametrize("damaged", ["model.safetensors", "trainer.pt"])
@pytest.mark.parametrize("keep", [1, 2])
def test_after_a_damaged_checkpoint_the_run_goes_on_from_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str, keep: int
) -> None:
    config = tiny_trial({"trainer.keep_checkpoints": keep, "trainer.ema_decay": 0.9})
    whole = run(config, tmp_path / "whole", RecordingTracker())
    directory = tmp_path / "parts"
    stopped = run(config, directory, RecordingTracker(), stop_at=5)
    path = directory / "checkpoints" / "step-000005" / damaged
    path.write_bytes(path.read_bytes()[:-100])
    resumed = run(config, directory, RecordingTracker(), resume=True)
    (warning,) = caplog.messages
    before = 4 if keep == 2 else stopped.state.best_step  # with one kept, the best is what remains
    assert warning.startswith(f"{path}: damaged")
    assert warning.endswith(f"going on from step-{before:06d} instead")
    assert_equal_runs(whole, resumed)


def test_a_checkpoint_is_read_once_to_go_on_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_trial({"trainer.ema_decay": 0.9})
    run(config, tmp_path, RecordingTracker(), stop_at=3)
    summed: list[str] = []
    digest = checkpoint.sha256_of

    def counted(path: Path) -> str:
        summed.append(path.name)
        return digest(path)

    monkeypatch.setattr(checkpoint, "sha256_of", counted)
    assert Trainer(config, directory=tmp_path, resume=True).step == 3
    assert sorted(summed) == ["model.safetensors", "trainer.pt"]


def test_a_best_checkpoint_that_is_gone_is_no_longer_the_best(tmp_path: Path) -> None:
    config = tiny_trial({"trainer.keep_checkpoints": 9})
    stopped = run(config, tmp_path, RecordingTracker(), stop_at=5)
    assert stopped.state.best_step is not None
    shutil.rmtree(tmp_path / "checkpoints" / f"step-{stopped.state.best_step:06d}")
    resumed = Trainer(config, directory=tmp_path, resume=True)
    assert (resumed.state.best_step, resumed.state.best) == (None, {})
    result = resumed.train()
    assert result.best_checkpoint == tmp_path / "checkpoints" / "step-000006"


@pytest.mark.parametrize(("before", "after"), [(2, 2), (0, 2)])
def test_workers_change_nothing(tmp_path: Path, before: int, after: int) -> None:
    overrides = {"objective.name": "knn_softmax", **SGD_POLY}
    whole_tracker, tracker = RecordingTracker(), RecordingTracker()
    whole = run(tiny_trial(overrides), tmp_path / "whole", whole_tracker)
    directory = tmp_path / "parts"
    run(tiny_trial({**overrides, "data.num_workers": before}), directory, tracker, stop_at=3)
    resumed = run(tiny_trial({**overrides, "data.num_workers": after}), directory, tracker, resume=True)
    assert_equal_runs(whole, resumed)
    assert tracker.exact_points() == whole_tracker.exact_points()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_with_repeat_factors_too_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, num_workers: int) -> None:
    # Epochs of 11 scenes and more, in batches of four: the run ends in the third.
    config = tiny_trial({"data.sampling.repeat_factor": 0.9, "data.num_workers": num_workers})
    whole_tracker, tracker = RecordingTracker(), RecordingTracker()
    whole = run(config, tmp_path / "whole", whole_tracker)
    directory = tmp_path / "parts"
    run(config, directory, tracker, stop_at=4)
    resumed = run(config, directory, tracker, resume=True)
    assert_equal_runs(whole, resumed)
    assert tracker.exact_points() == whole_tracker.exact_points()

    plain_tracker = RecordingTracker()
    run(tiny_trial({"data.num_workers": num_workers}), tmp_path / "plain", plain_tracker)
    assert plain_tracker.exact_points() != whole_tracker.exact_points()


def test_how_often_a_run_is_evaluated_does_not_change_its_weights(tmp_path: Path) -> None:
    # sampled_softmax draws negatives in evaluation as well.
    runs = [
        run(
            tiny_trial({"objective.name": "sampled_softmax", "evaluation.every_steps": every}),
            tmp_path / str(every),
            RecordingTracker(),
        )
        for every in (1, 6)
    ]
    assert_same(*(trainer.trial.model.state_dict() for trainer in runs))


def test_resuming_a_finished_run_gives_its_result_again(tmp_path: Path) -> None:
    config = tiny_trial()
    result = Trainer(config, directory=tmp_path).train()
    text = (tmp_path / "result.json").read_text()
    again = Trainer(config, directory=tmp_path, resume=True).train()
    assert again == result
    assert (tmp_path / "result.json").read_text() == text
    assert {"val/miou", "perf/step_ms", "perf/loss_memory_mib", "perf/peak_memory_mib"} <= result.metrics.keys()


def test_resume_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    config = tiny_trial()
    with pytest.raises(Crash):
        Trainer(config, directory=tmp_path, progress=_crash).train()
    trainer = Trainer(config, directory=tmp_path, resume=True)
    assert trainer.step == 0
    assert trainer.train().steps == 6
    assert [step for step, _ in history(tmp_path)] == [2, 4, 6]


def _crash(step: int, _: Any) -> None:
    raise Crash


def test_another_configuration_is_refused_by_its_key(tmp_path: Path) -> None:
    Trainer(tiny_trial({"trainer.max_steps": 2}), directory=tmp_path).train()
    for path, value in {
        "trainer.max_steps": 4,
        "objective.name": "knn_softmax",
        "optimizer.lr": 0.5,
        "data.seed": 1,
        "seed": 1,
    }.items():
        changed = tiny_trial({"trainer.max_steps": 2, path: value})
        with pytest.raises(InputError, match=rf"^{path}: is {value!r}, but the run to resume has "):
            Trainer(changed, directory=tmp_path, resume=True)


def test_where_and_how_it_runs_may_change(tmp_path: Path) -> None:
    stopped = run(tiny_trial(), tmp_path, RecordingTracker(), stop_at=2)
    changed = tiny_trial(
        {
            "trainer.num_threads": 2,
            "trainer.device": "auto",
            "trainer.log_every_steps": 2,
            "data.num_workers": 1,
            "evaluation.num_pictures": 1,
            "tracking.uri": "http://localhost:5000",
            "tracking.experiment": "other",
        }
    )
    try:
        assert Trainer(changed, directory=tmp_path, resume=True).step == stopped.step
    finally:
        torch.set_num_threads(1)


def test_another_data_root_may_be_resumed(tmp_path: Path) -> None:
    from essnet.training.resume import check_same_trial

    folder = {"name": "folder", "crop_size": 32}
    saved, moved = (tiny_trial({"data": {**folder, "root": root}}) for root in ("/a", "/b"))
    check_same_trial(saved, moved)


def test_history_that_a_crash_cut_off_is_mended(tmp_path: Path) -> None:
    config = tiny_trial()
    run(config, tmp_path, RecordingTracker(), stop_at=2)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 4, "metrics": {"val/mi')
    run(config, tmp_path, RecordingTracker(), resume=True)
    assert [step for step, _ in history(tmp_path)] == [2, 4, 6]


def test_best_link_is_mended_after_a_crash_between_the_two_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from essnet.training.checkpoint_folder import CheckpointFolder

    config = tiny_trial({"trainer.max_steps": 2})
    link = CheckpointFolder._link

    def crash_at_best(self: CheckpointFolder, name: str, folder: Path) -> None:
        if name == "best":
            raise Crash
        link(self, name, folder)

    monkeypatch.setattr(CheckpointFolder, "_link", crash_at_best)
    with pytest.raises(Crash):
        Trainer(config, directory=tmp_path).train()
    monkeypatch.undo()
    result = Trainer(config, directory=tmp_path, resume=True).train()
    assert result.best_checkpoint == result.last_checkpoint
    assert result.best_checkpoint is not None
    assert result.best_checkpoint.name == "step-000002"


def test_a_trainer_is_gone_with_its_last_reference(tmp_path: Path) -> None:
    # A data loader in a cycle of references is left to the garbage collector, and then each of its workers takes five
    # seconds to end: torch cannot tell it to.
    gc.collect()
    gc.disable()
    try:
        trainer = run(tiny_trial(), tmp_path, RecordingTracker())
        left = weakref.ref(trainer)
        del trainer
        assert left() is None
    finally:
        gc.enable()
