from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.config import InputError
from essnet.data.loading import TrainBatchSampler
from essnet.labels import IGNORE_INDEX
from essnet.training import checkpoint_folder
from essnet.training.loss_watch import NonFiniteLossError
from essnet.training.result import best_metrics, read_history
from essnet.training.trainer import Trainer
from tests.data.fixtures import make_folder_dataset
from tests.training.tiny import OBJECTIVES, RecordingTracker, assert_same, tiny_trial

PERF = {"perf/step_ms", "perf/images_per_s", "perf/data_wait_ms"}
EVALUATION = {"perf/evaluation_s", "perf/peak_memory_mib", "perf/loss_memory_mib"}
VAL = {"val/loss", "val/miou", "val/mean_accuracy", "val/pixel_accuracy", "val/fw_iou"}
VAL |= {"val/miou_frequent", "val/miou_common", "val/miou_rare"}


def snapshot(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.trial.model.named_parameters()}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_before_the_optimizer_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    config = tiny_trial({"trainer.checkpoint_every_steps": 2, "evaluation.every_steps": 6})
    seen: list[Tensor] = []
    parameters: dict[str, Tensor] = {}
    tracker = RecordingTracker()

    def progress(step: int, _: Mapping[str, float]) -> None:
        if step == 3:
            parameters.update(snapshot(trainer))
            monkeypatch.setattr(trainer.trial.model.output_layer, "loss", broken)

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets)
        return outputs.sum() * 0 + value

    trainer = Trainer(config, directory=tmp_path, progress=progress)
    trainer.track_with(tracker)
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train()
    assert_same(snapshot(trainer), parameters)
    assert trainer.step == 3
    assert trainer.checkpoints.last() == tmp_path / "checkpoints" / "step-000002"
    assert max(step for _, step in tracker.points) == 3
    assert ("train/loss", 3) in tracker.points  # logged after the last checkpoint's flush, and kept
    assert not (tmp_path / "result.json").exists()

    message = str(caught.value)
    assert message.startswith(f"step 4: the loss is {value}, the optimizer has not stepped")
    assert "\n" not in message
    scenes = [int(part.split()[1]) for part in message.split("train images ")[1].split(";")[0].split(", ")]
    data = trainer.trial.train_data
    masks = torch.stack([data[scene][1] for scene in scenes])
    assert torch.equal(masks, seen[0])


def test_the_images_of_a_broken_batch_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder_dataset(tmp_path / "data", num_images=5, size=(40, 40))
    config = tiny_trial({"data": {"name": "folder", "root": str(root), "crop_size": 32}, "trainer.batch_size": 2})
    trainer = Trainer(config, directory=tmp_path / "run")

    def progress(step: int, _: Mapping[str, float]) -> None:
        if step == 1:
            monkeypatch.setattr(trainer.trial.model.output_layer, "loss", lambda outputs, _: outputs.sum() * math.nan)

    trainer._progress = progress
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train()
    sampler = TrainBatchSampler(length=5, batch_size=2, seed=0, start_step=1)
    for index, _ in next(iter(sampler)):
        assert f"{index:03}.png" in str(caught.value)


def test_what_a_run_logs_and_leaves(tmp_path: Path) -> None:
    tracker = RecordingTracker()
    reports: list[tuple[int, dict[str, float]]] = []
    steps: list[int] = []
    config = tiny_trial(
        {
            "trainer.max_steps": 7,
            "trainer.log_every_steps": 2,
            "evaluation.every_steps": 3,
            "evaluation.num_pictures": 3,
        }
    )

    def report(step: int, metrics: Mapping[str, float]) -> None:
        # All is on disk already.
        assert trainer.checkpoints.last() == tmp_path / "checkpoints" / f"step-{step:06d}"
        assert ("val/miou", step) in tracker.points
        assert read_history(tmp_path / "history.jsonl")[-1]["step"] == step
        reports.append((step, dict(metrics)))

    trainer = Trainer(config, directory=tmp_path, report=report, progress=lambda step, _: steps.append(step))
    trainer.track_with(tracker)
    result = trainer.train()

    assert steps == list(range(1, 8))
    assert [step for step, _ in reports] == [3, 6, 7]
    logged: dict[str, list[int]] = {}
    for key, step in sorted(tracker.points):
        logged.setdefault(key, []).append(step)
    for key in {"train/loss", "train/lr", "train/gradient_norm"} | PERF:
        assert logged.pop(key) == [2, 3, 4, 6, 7]
    for key in VAL | EVALUATION:
        assert logged.pop(key) == [3, 6, 7]
    for key in [key for key in logged if key.startswith("system/")]:
        assert {3, 6, 7} <= set(logged.pop(key))  # and at other steps, where those are ten seconds apart
    assert not logged

    best = max(reports, key=lambda entry: entry[1]["val/miou"])[1]
    assert {key: value for key, value in result.metrics.items() if key in VAL} == best
    assert result.metrics.keys() == VAL | PERF | EVALUATION
    assert best_metrics(tmp_path, "val/miou", "max").items() >= best.items()
    least = min(metrics["val/loss"] for _, metrics in reports)
    assert best_metrics(tmp_path, "val/loss", "min")["val/loss"] == least

    pictures = sorted((tmp_path / "predictions").iterdir())
    assert [path.name for path in pictures] == [f"step-{step:06d}.png" for step in (3, 6, 7)]
    assert [path for path, folder in tracker.artifacts if folder == "predictions"] == pictures
    saved = json.loads((tmp_path / "result.json").read_text())
    assert saved["metrics"] == result.metrics
    assert saved["best_checkpoint"] == str(result.best_checkpoint)
    assert saved["steps"] == 7
    assert saved["interrupted"] is False


def test_the_learning_rate_logged_for_a_step_is_the_one_it_was_taken_with(tmp_path: Path) -> None:
    tracker = RecordingTracker()
    trainer = Trainer(tiny_trial({"optimizer.lr": 0.5, "trainer.max_steps": 2}), directory=tmp_path)
    trainer.track_with(tracker)
    trainer.train()
    assert tracker.points["train/lr", 1] == 0.5
    assert tracker.points["train/lr", 2] == pytest.approx(0.5 * 0.5**0.9)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_lowers_the_loss_and_moves_every_group(tmp_path: Path, objective: str) -> None:
    config = tiny_trial(
        {"objective.name": objective, "optimizer.name": "adamw", "optimizer.lr": 4e-3, "trainer.max_steps": 12}
    )
    tracker = RecordingTracker()
    trainer = Trainer(config, directory=tmp_path)
    trainer.track_with(tracker)
    before = snapshot(trainer)
    trainer.train()
    after = snapshot(trainer)
    losses = [tracker.points["train/loss", step] for step in range(1, 13)]
    assert sum(losses[-3:]) < sum(losses[:3])
    names = {id(parameter): name for name, parameter in trainer.trial.model.named_parameters()}
    for group in trainer.trial.model.parameter_groups().values():
        assert any(not torch.equal(before[names[id(p)]], after[names[id(p)]]) for p in group)


def test_measuring_memory_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {"objective.name": "sampled_softmax", "trainer.max_steps": 2}
    first = Trainer(tiny_trial(overrides), directory=tmp_path / "measured")
    first.train()
    monkeypatch.setattr("essnet.training.watched_batches.loss_memory_mib", lambda *_: 0.0)
    second = Trainer(tiny_trial(overrides), directory=tmp_path / "unmeasured")
    second.train()
    assert_same(first.trial.model.state_dict(), second.trial.model.state_dict())


def test_the_first_validation_batches_only(tmp_path: Path) -> None:
    whole = Trainer(tiny_trial({"trainer.max_steps": 1}), directory=tmp_path / "whole").train()
    part = Trainer(tiny_trial({"trainer.max_steps": 1}), directory=tmp_path / "part", max_eval_batches=1).train()
    few = Trainer(tiny_trial({"trainer.max_steps": 1, "data.val_images": 2}), directory=tmp_path / "few").train()
    pick = sorted(VAL)
    assert [part.metrics[key] for key in pick] == [few.metrics[key] for key in pick]
    assert part.metrics["val/loss"] != whole.metrics["val/loss"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.crop_size": 40}, r"data\.crop_size=40 must be divisible by 16.* nearest is 32"),
        ({"trainer.batch_size": 1}, r"trainer\.batch_size: found 1"),
        ({"trainer.device": "cuda:7"}, r"trainer\.device: found 'cuda:7'"),
        ({"model.architecture": "pan", "data.crop_size": 40}, r"must be divisible by 16.* nearest is 128"),
        ({"model.architecture": "pan", "data.crop_size": 64}, r"data\.crop_size=64 is too small for pan; at least 128"),
    ],
)
def test_trials_that_cannot_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        Trainer(tiny_trial(overrides), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_of_one_image_trains_where_the_architecture_can(tmp_path: Path) -> None:
    config = tiny_trial({"trainer.batch_size": 1, "data.crop_size": 64, "model.architecture": "unet"})
    assert Trainer(config, directory=tmp_path / "run").train().steps == config.trainer.max_steps


def test_embedding_figures_are_logged_at_evaluations(tmp_path: Path) -> None:
    tracker = RecordingTracker()
    trainer = Trainer(tiny_trial({"objective.name": "embedding_softmax", "trainer.max_steps": 4}), directory=tmp_path)
    trainer.track_with(tracker)
    trainer.train()
    norms = torch.linalg.vector_norm(trainer.trial.model.output_layer.class_embeddings, dim=1)
    assert tracker.points["embedding/class_norm_mean", 4] == pytest.approx(float(norms.mean().detach()))
    names = {"class_norm_mean", "class_norm_min", "class_norm_max", "smallest_class_distance", "never_nearest_share"}
    logged = {key for key in tracker.points if key[0].startswith("embedding/")}
    assert logged == {(f"embedding/{name}", step) for name in names for step in (2, 4)}


def test_the_host_looks_at_a_gpus_loss_at_log_steps_and_before_it_saves(tmp_path: Path) -> None:
    """With a stand-in for the copy from a GPU: figures that are never there until they are waited for."""
    waited: list[int] = []

    class NeverThere:
        def __init__(self, figures: Tensor) -> None:
            self.step = trainer.step + 1
            self.figures = figures.tolist()

        def arrived(self) -> bool:
            return False

        def values(self) -> list[float]:
            waited.append(trainer.step)
            return self.figures

    config = tiny_trial(
        {"trainer.log_every_steps": 3, "evaluation.every_steps": 6, "trainer.checkpoint_every_steps": 4}
    )
    trainer = Trainer(config, directory=tmp_path)
    trainer._watch._send = NeverThere
    trainer.train()
    assert waited == [3, 3, 3, 4, 6, 6]


def test_a_loss_that_is_seen_late_is_neither_logged_nor_saved(tmp_path: Path) -> None:
    class Late:
        def __init__(self, figures: Tensor) -> None:
            self.figures = figures.tolist()

        def arrived(self) -> bool:
            return False

        def values(self) -> list[float]:
            return self.figures

    config = tiny_trial(
        {"trainer.log_every_steps": 2, "evaluation.every_steps": 6, "trainer.checkpoint_every_steps": 2}
    )
    tracker = RecordingTracker()
    trainer = Trainer(config, directory=tmp_path)
    trainer.track_with(tracker)
    trainer._watch._send = Late
    loss = trainer.trial.model.output_layer.loss

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return loss(outputs, targets) * (math.nan if trainer.step == 2 else 1)

    trainer.trial.model.output_layer.loss = broken
    with pytest.raises(NonFiniteLossError, match=r"^step 3: the loss is nan"):
        trainer.train()
    assert max(step for _, step in tracker.points) == 2
    assert trainer.checkpoints.last() == tmp_path / "checkpoints" / "step-000002"


def test_a_batch_in_which_all_pixels_are_ignored_changes_only_what_decay_and_momentum_do(tmp_path: Path) -> None:
    for objective in OBJECTIVES:
        overrides = {"objective.name": objective, "objective.margin_weight": 0.0, "optimizer.weight_decay": 0.0}
        trainer = Trainer(tiny_trial(overrides), directory=tmp_path / objective)
        before = snapshot(trainer)
        images = torch.zeros((4, 3, 32, 32), dtype=torch.uint8)
        ignored = torch.full((4, 32, 32), IGNORE_INDEX)
        trainer.trial.model.train()
        trainer._step.take(1, [(images, ignored)], measure_norm=True)
        assert (trainer._watch.loss, trainer._watch.gradient_norm) == (0.0, 0.0)
        assert_same(snapshot(trainer), before)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_class_only(tmp_path: Path, objective: str) -> None:
    config = tiny_trial({"objective.name": objective, "data.num_classes": 1, "trainer.max_steps": 2})
    result = Trainer(config, directory=tmp_path).train()
    assert result.metrics["val/miou"] == 1.0
    assert math.isfinite(result.metrics["val/loss"])


def test_a_checkpoint_is_written_while_training_goes_on_and_reported_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    write = checkpoint_folder.write_checkpoint
    reported: list[tuple[int, int]] = []

    def slow(*arguments: Any, **options: Any) -> None:
        assert gate.wait(60)
        write(*arguments, **options)

    def progress(step: int, _: Mapping[str, float]) -> None:
        if step == 3:
            assert not reported
            assert trainer.checkpoints.last() is None
            gate.set()

    monkeypatch.setattr(checkpoint_folder, "write_checkpoint", slow)
    trainer = Trainer(
        tiny_trial(),
        directory=tmp_path,
        progress=progress,
        report=lambda step, _: reported.append((step, int(trainer.checkpoints.last().name[-6:]))),
    )
    trainer.train()
    assert reported == [(2, 2), (4, 4), (6, 6)]
