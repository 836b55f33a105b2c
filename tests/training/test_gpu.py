"""What of training has not run on a GPU yet: each of these runs where torch sees one, and is skipped elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.losses import full_softmax_loss, margin_regulariser
from essnet.neighbours import SIMILARITIES
from essnet.training.checkpoint import open_checkpoint
from essnet.training.loss_watch import NonFiniteLossError
from essnet.training.trainer import Trainer
from tests.losses.batches import LOSSES, Batch, assert_close, make_batch, run, run_oracle
from tests.training.tiny import OBJECTIVES, RecordingTracker, assert_same, tiny_trial

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


def gpu_trainer(folder: Path, overrides: dict[str, Any], **options: Any) -> Trainer:
    return Trainer(tiny_trial({"trainer.device": "cuda", **overrides}), directory=folder, **options)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_objective_trains_in_every_precision(tmp_path: Path, objective: str, precision: str) -> None:
    tracker = RecordingTracker()
    trainer = gpu_trainer(
        tmp_path,
        {
            "objective.name": objective,
            "trainer.precision": precision,
            "trainer.accumulate_steps": 2,
            "trainer.clip_gradient_norm": 1.0,
            "trainer.ema_decay": 0.9,
        },
    )
    trainer.track_with(tracker)
    assert math.isfinite(trainer.train().metrics["val/loss"])
    assert all(math.isfinite(tracker.points["train/loss", step]) for step in range(1, 7))


def test_a_step_waits_for_nothing(tmp_path: Path) -> None:
    trainer = gpu_trainer(tmp_path, {"trainer.max_steps": 9, "trainer.ema_decay": 0.9})
    batches = trainer._batches.after(0)
    pairs = [tuple(tensor.cuda() for tensor in next(batches)) for _ in range(6)]
    trainer.trial.model.train()
    for step, pair in enumerate(pairs, start=1):
        if step == 4:  # after warming up
            torch.cuda.set_sync_debug_mode("error")
        try:
            trainer._step.take(step, [pair], measure_norm=False)
            assert trainer.state.average is not None
            trainer.state.average.update()
        finally:
            if step == len(pairs):
                torch.cuda.set_sync_debug_mode("default")


def test_a_loss_that_is_no_number_is_named_by_its_step_and_not_saved(tmp_path: Path) -> None:
    trainer = gpu_trainer(
        tmp_path,
        {"trainer.log_every_steps": 6, "evaluation.every_steps": 6, "trainer.checkpoint_every_steps": 2},
    )
    loss = trainer.trial.model.output_layer.loss

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return loss(outputs, targets) * (math.nan if trainer.step == 2 else 1)

    trainer.trial.model.output_layer.loss = broken
    with pytest.raises(NonFiniteLossError, match=r"^step 3: the loss is nan, nothing of it is saved"):
        trainer.train()
    assert trainer.checkpoints.last() == tmp_path / "checkpoints" / "step-000002"


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, precision: str) -> None:
    options = {"trainer.precision": precision, "trainer.ema_decay": 0.9}
    trainer = gpu_trainer(tmp_path, options, should_stop=lambda: trainer.step == 3)
    assert trainer.train().interrupted
    resumed = gpu_trainer(tmp_path, options, resume=True)
    assert resumed.step == 3
    assert_same(
        {name: tensor.cpu() for name, tensor in resumed.trial.model.state_dict().items()},
        {name: tensor.cpu() for name, tensor in trainer.trial.model.state_dict().items()},
    )
    state = open_checkpoint(tmp_path / "checkpoints" / "last").trainer_state()
    assert ("scaler" in state) == (precision == "float16")
    assert resumed.train().steps == 6


def test_a_compiled_network_trains(tmp_path: Path) -> None:
    assert gpu_trainer(tmp_path, {"trainer.compile": True}).train().steps == 6


def test_deterministic_training_repeats(tmp_path: Path) -> None:
    weights = []
    try:
        for name in ("first", "second"):
            trainer = gpu_trainer(
                tmp_path / name, {"trainer.deterministic": True, "objective.name": "embedding_softmax"}
            )
            trainer.train()
            weights.append({key: tensor.cpu() for key, tensor in trainer.trial.model.state_dict().items()})
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(*weights)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("name", ["full_softmax", "margin_regulariser", *LOSSES])
def test_a_loss_waits_for_nothing(name: str, similarity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("essnet.losses.margin.ALL_ROWS_UP_TO", 30)
    on_cpu = make_batch(num_classes=60)
    leaves = [leaf.detach().cuda().requires_grad_() for leaf in on_cpu.leaves()]
    batch = Batch(leaves[0], leaves[1], on_cpu.targets.cuda(), leaves[2])
    logits = torch.randn(2, 60, 5, 7, device="cuda", requires_grad=True)
    loss, arguments, oracle_arguments = LOSSES.get(name, (None, {}, {}))
    arguments = {key: value.cuda() if isinstance(value, Tensor) else value for key, value in arguments.items()}
    for mode in ("default", "error"):  # after warming up
        torch.cuda.set_sync_debug_mode(mode)
        try:
            if name == "full_softmax":
                full_softmax_loss(logits=logits, targets=batch.targets).backward()
            elif name == "margin_regulariser":
                margin_regulariser(class_embeddings=batch.class_embeddings).backward()
            else:
                value, gradients = run(loss, batch, similarity=similarity, **arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    if loss is not None:
        actual = value.cpu(), [gradient.cpu() for gradient in gradients]
        assert_close(actual, run_oracle(on_cpu, similarity=similarity, **oracle_arguments))
