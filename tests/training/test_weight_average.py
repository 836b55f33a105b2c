from __future__ import annotations

from pathlib import Path

import torch

from essnet.training.checkpoint import open_checkpoint
from essnet.training.evaluation import Evaluation
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from essnet.training.weight_average import WeightAverage
from tests.training.tiny import assert_same, tiny_trial

EMBEDDINGS = {"objective.name": "knn_softmax", "optimizer.name": "adamw", "optimizer.lr": 4e-3}


def test_the_average_is_the_naive_one(tmp_path: Path) -> None:
    trainer = Trainer(tiny_trial({**EMBEDDINGS, "trainer.ema_decay": 0.25}), directory=tmp_path)
    model = trainer.trial.model
    expected = {name: tensor.clone().double() for name, tensor in model.state_dict().items()}

    def after_step(step: int, _: object) -> None:
        decay = min(0.25, step / (9 + step))  # step - 1 updates came before
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
            else:
                expected[name] = tensor.clone().double()

    trainer._progress = after_step
    trainer.train()
    assert trainer.state.average is not None
    averaged = trainer.state.average.model.state_dict()
    for name, tensor in averaged.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
    trained = model.state_dict()
    for name in ("output_layer.class_embeddings", "network.encoder.model.bn1.running_mean"):
        assert not torch.equal(averaged[name], trained[name])


def test_the_average_is_what_is_evaluated_and_saved_and_the_trained_weights_are_kept(tmp_path: Path) -> None:
    config = tiny_trial({**EMBEDDINGS, "trainer.ema_decay": 0.9, "trainer.max_steps": 4, "evaluation.every_steps": 4})
    reported: dict[str, float] = {}
    trainer = Trainer(config, directory=tmp_path, report=lambda _, metrics: reported.update(metrics))
    result = trainer.train()
    assert trainer.state.average is not None
    assert result.last_checkpoint is not None
    checkpoint = open_checkpoint(result.last_checkpoint)
    assert_same(checkpoint.weights(), dict(trainer.state.average.model.state_dict()))
    assert_same(checkpoint.trainer_state()["trained_weights"], dict(trainer.trial.model.state_dict()))
    cpu = torch.device("cpu")
    model = load_model(checkpoint, device=cpu)
    again = Evaluation(config, trainer.trial.eval_data, model=model, device=cpu).run(model).metrics
    assert again == {key: reported[key] for key in again}
    assert (
        again != Evaluation(config, trainer.trial.eval_data, model=model, device=cpu).run(trainer.trial.model).metrics
    )


def test_training_is_the_same_with_an_average_and_without(tmp_path: Path) -> None:
    weights = []
    for decay in (None, 0.9):
        trainer = Trainer(tiny_trial({**EMBEDDINGS, "trainer.ema_decay": decay}), directory=tmp_path / str(decay))
        trainer.train()
        weights.append(dict(trainer.trial.model.state_dict()))
    assert_same(*weights)


def test_an_average_of_unchanging_weights_is_those_weights(tmp_path: Path) -> None:
    model = Trainer(tiny_trial(EMBEDDINGS), directory=tmp_path).trial.model
    average = WeightAverage(model, decay=0.999)
    for _ in range(3):
        average.update()
    assert_same(average.model.state_dict(), model.state_dict())
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
