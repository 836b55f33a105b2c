"""Training that begins with a checkpoint's weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.config import InputError
from essnet.training.checkpoint import open_checkpoint
from essnet.training.trainer import Trainer
from essnet.training.trial import build_trial
from tests.training.tiny import assert_same, tiny_trial

OUTPUT_LAYER = "output_layer."


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each of two objectives."""
    found = {}
    for objective in ("full_softmax", "knn_softmax"):
        config = tiny_trial({"objective.name": objective, "trainer.max_steps": 2, "schedule.name": "cosine"})
        result = Trainer(config, directory=tmp_path_factory.mktemp(objective)).train()
        assert result.last_checkpoint is not None
        found[objective] = result.last_checkpoint
    return found


def started_with(checkpoint: Path, overrides: dict[str, Any], **arguments: bool) -> dict[str, Tensor]:
    trial = tiny_trial({"model.initial_weights": str(checkpoint), "seed": 3, **overrides})
    return build_trial(trial, cache_dir=None, **arguments).model.state_dict()


def begun_anew(overrides: dict[str, Any]) -> dict[str, Tensor]:
    return build_trial(tiny_trial({"seed": 3, **overrides}), cache_dir=None).model.state_dict()


@pytest.mark.parametrize("objective", ["full_softmax", "knn_softmax"])
def test_all_weights_are_taken_where_the_classes_are_the_same(
    checkpoints: dict[str, Path], objective: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = started_with(checkpoints[objective], {"objective.name": objective})
    assert_same(dict(state), open_checkpoint(checkpoints[objective]).weights())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("source", "overrides", "reason"),
    [
        ("full_softmax", {"data.num_classes": 7}, "output_layer.convolution.weight is 5x256x1x1 there and 7x256x1x1"),
        ("knn_softmax", {"data.num_classes": 7}, "output_layer.class_embeddings is 5x3 there and 7x3 here"),
        ("knn_softmax", {"objective.embedding_dim": 4}, "output_layer.class_embeddings is 5x3 there and 5x4 here"),
        ("full_softmax", {"objective.name": "knn_softmax"}, "output_layer.class_embeddings is missing there"),
        ("knn_softmax", {"objective.name": "full_softmax"}, "output_layer.class_embeddings is not wanted here"),
    ],
)
def test_the_output_layer_begins_anew_where_it_does_not_fit(
    checkpoints: dict[str, Path],
    source: str,
    overrides: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    overrides = {"objective.name": source, **overrides}
    state, anew = started_with(checkpoints[source], overrides), begun_anew(overrides)
    weights = open_checkpoint(checkpoints[source]).weights()
    assert state.keys() == anew.keys()
    for name, tensor in state.items():
        origin = anew if name.startswith(OUTPUT_LAYER) else weights
        assert torch.equal(tensor, origin[name]), name
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert reason in message
    assert all(name in message for name in state if name.startswith(OUTPUT_LAYER))
    assert "\n" not in message


def test_other_classes_of_the_same_number_are_other_classes(
    checkpoints: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "other"
    checkpoint.mkdir()
    for file in checkpoints["knn_softmax"].iterdir():
        (checkpoint / file.name).write_bytes(file.read_bytes())
    classes = checkpoint / "classes.json"
    first = open_checkpoint(checkpoint).classes.names[0]
    classes.write_text(classes.read_text().replace(first, "something else", 1))
    overrides = {"objective.name": "knn_softmax"}
    state, anew = started_with(checkpoint, overrides), begun_anew(overrides)
    assert torch.equal(state["output_layer.class_embeddings"], anew["output_layer.class_embeddings"])
    assert "its classes are others" in caplog.text


def test_training_goes_on_from_them_with_everything_else_new(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    config = tiny_trial({"model.initial_weights": str(checkpoints["full_softmax"]), "trainer.max_steps": 2})
    trainer = Trainer(config, directory=tmp_path / "run")
    assert trainer.step == 0
    assert trainer.optimizer.state_dict()["state"] == {}
    result = trainer.train()
    assert result.steps == 2
    # The run stands alone: its checkpoint is resumed and evaluated without those that it began with.
    moved = tiny_trial({"model.initial_weights": str(tmp_path / "gone")})
    assert build_trial(moved, cache_dir=None, pretrained=False).model is not None


def test_the_encoders_own_weights_are_not_read_as_well(checkpoints: dict[str, Path]) -> None:
    state = started_with(checkpoints["full_softmax"], {"model.encoder_weights": "/nowhere.pt"})
    assert_same(dict(state), open_checkpoint(checkpoints["full_softmax"]).weights())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"model.encoder": "mobilenet_v2"},
            "the weights of deeplabv3plus with tu-test_resnet do not fit this model .* and [0-9]+ more",
        ),
        ({"model.separable_convolutions": False}, "the weights of .*; all but the output layer's must"),
    ],
)
def test_another_network_is_refused(checkpoints: dict[str, Path], overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.initial_weights=.*: {message}") as caught:
        started_with(checkpoints["full_softmax"], overrides)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model\.initial_weights: .*gone: no such checkpoint$"):
        started_with(tmp_path / "gone", {})
    with pytest.raises(InputError, match=r"^model\.initial_weights: .*is no checkpoint"):
        started_with(tmp_path, {})
