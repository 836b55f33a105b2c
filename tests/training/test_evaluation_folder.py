"""`evaluation/` of a run: what its best evaluation saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from essnet.cli.app import main
from essnet.data import ClassTable, build_dataset
from essnet.labels import IGNORE_INDEX
from essnet.models import EmbeddingOutput
from essnet.training.checkpoint import open_checkpoint
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.data.fixtures import make_folder_dataset
from tests.oracles import confusion_matrix
from tests.training.tiny import NUM_CLASSES, OBJECTIVES, assert_same, tiny_trial

CPU = torch.device("cpu")


def trained(directory: Path, overrides: dict[str, Any]) -> Trainer:
    trainer = Trainer(tiny_trial(overrides), directory=directory)
    trainer.train()
    return trainer


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    return content


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_folder_has_what_the_best_checkpoint_gives(
    tmp_path: Path, objective: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = trained(tmp_path / "run", {"objective.name": objective, "evaluation.num_pictures": 2})
    content = content_of(tmp_path / "run")
    best = trainer.checkpoints.best()
    assert best is not None
    assert content["format_version"] == 1
    assert content["step"] == trainer.state.best_step
    assert best.resolve().name == f"step-{content['step']:06d}"

    model = load_model(open_checkpoint(best), device=CPU)
    matrix = torch.zeros((NUM_CLASSES, NUM_CLASSES), dtype=torch.int64)
    for index in range(5):
        image, target = trainer.trial.eval_data[index]
        with torch.no_grad():
            outputs = model(image[None].as_subclass(torch.Tensor))
        matrix += confusion_matrix(model.output_layer.predict(outputs, (32, 32))[0], target, NUM_CLASSES)
    rows = {row["id"]: row for row in content["classes"]}
    assert list(rows) == [index for index in range(NUM_CLASSES) if matrix[index].sum() + matrix[:, index].sum() > 0]
    for index, row in rows.items():
        true, predicted, hits = int(matrix[index].sum()), int(matrix[:, index].sum()), int(matrix[index, index])
        group = trainer.trial.eval_data.frequency_groups[index]
        assert (row["pixels"], row["predicted"], row["group"]) == (true, predicted, group)
        assert row["iou"] == pytest.approx(hits / (true + predicted - hits))
        assert row["accuracy"] == (pytest.approx(hits / true) if true else None)
        assert row["name"] == trainer.trial.eval_data.classes.names[index]
    cells = [
        (int(matrix[truth, predicted]), truth, predicted)
        for truth in range(NUM_CLASSES)
        for predicted in range(NUM_CLASSES)
        if truth != predicted and matrix[truth, predicted] > 0
    ]
    found = [(row["pixels"], row["truth"], row["predicted"]) for row in content["confusions"]]
    assert sorted(found) == sorted(cells)
    assert [row[0] for row in found] == sorted((row[0] for row in cells), reverse=True)

    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", str(best), "--output", str(tmp_path), "--json"])
    assert exit_.value.code == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["confusions"] == content["confusions"]
    colours = trainer.trial.eval_data.classes.colours.tolist()
    seen = [row for row in said["classes"] if row["pixels"] or row["predicted"]]
    assert [{**row, "colour": colours[row["id"]]} for row in seen] == content["classes"]


@pytest.mark.parametrize("similarity", ["l2", "dot"])
def test_embeddings_are_those_of_the_best_checkpoint(tmp_path: Path, similarity: str) -> None:
    overrides = {"objective.name": "embedding_softmax", "objective.similarity": similarity}
    trainer = trained(tmp_path / "run", overrides)
    tensors = load_file(tmp_path / "run" / "evaluation" / "embeddings.safetensors")
    best = trainer.checkpoints.best()
    assert best is not None
    layer = load_model(open_checkpoint(best), device=CPU).output_layer
    assert isinstance(layer, EmbeddingOutput)
    assert_same(tensors["class_embeddings"], layer.comparable_class_embeddings().detach())
    present = sum(len(trainer.trial.eval_data[index][1].unique()) for index in range(5))
    assert tensors["pixel_embeddings"].shape == (present, 3)
    assert tensors["pixel_embeddings"].dtype == torch.float32
    assert tensors["pixel_classes"].shape == (present,)
    assert tensors["pixel_classes"].dtype == torch.int64


def test_the_full_softmax_has_no_embeddings_and_pictures_may_be_left_out(tmp_path: Path) -> None:
    trained(tmp_path / "run", {"evaluation.num_pictures": 0})
    assert content_of(tmp_path / "run")["pictures"] == []
    assert [path.name for path in (tmp_path / "run" / "evaluation").iterdir()] == ["evaluation.json"]


def test_pictures_have_no_padding_are_small_and_black_where_nothing_counts(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path / "data", num_images=2, size=(40, 1030), num_classes=3)
    other = make_folder_dataset(tmp_path / "other", num_images=1, size=(50, 20), num_classes=3)
    for kind in ("images", "masks"):
        (other / kind / "val" / "000.png").rename(root / kind / "val" / "other one.png")
    path = root / "masks" / "val" / "other one.png"
    ids = np.asarray(Image.open(path)).copy()
    ids[:10] = 255
    Image.fromarray(ids).save(path)
    data = {"name": "folder", "root": str(root), "crop_size": 32}
    trainer = trained(tmp_path / "run", {"data": data, "evaluation.num_pictures": 3, "evaluation.batch_size": 3})
    pictures = content_of(tmp_path / "run")["pictures"]
    assert [entry["name"] for entry in pictures] == ["000", "001", "other-one"]
    folder = tmp_path / "run" / "evaluation"
    kinds = ("image", "truth", "prediction")
    for entry, size in zip(pictures, [(512, 20), (512, 20), (20, 50)], strict=True):
        assert [Image.open(folder / entry[kind]).size for kind in kinds] == [size] * 3
    truth = build_dataset(trainer.config.data, "val")[2][1].numpy()
    colours = ClassTable(trainer.trial.eval_data.classes.names).colours
    drawn = np.asarray(Image.open(folder / pictures[2]["truth"]))
    assert (truth[:10] == IGNORE_INDEX).all()
    assert (drawn[:10] == 0).all()
    assert np.array_equal(drawn[10:], colours[truth[10:]])
    assert len(list(folder.iterdir())) == 1 + 9


@pytest.mark.parametrize(("learning_rate", "best_step"), [(3e-3, 6), (1e-2, 4)])
def test_only_the_best_is_kept_also_when_a_run_goes_on(tmp_path: Path, learning_rate: float, best_step: int) -> None:
    overrides = {
        "objective": {"name": "embedding_softmax", "similarity": "dot", "embedding_dim": 3},
        "optimizer": {"name": "adamw", "lr": learning_rate},
        "trainer.max_steps": 8,
    }
    trained(tmp_path / "whole", overrides)
    steps: list[int] = []
    config = tiny_trial(overrides)
    Trainer(
        config,
        directory=tmp_path / "parts",
        progress=lambda step, _: steps.append(step),
        should_stop=lambda: len(steps) == 5,
    ).train()
    assert content_of(tmp_path / "parts")["step"] < 5
    Trainer(config, directory=tmp_path / "parts", resume=True).train()
    assert content_of(tmp_path / "whole")["step"] == best_step
    assert content_of(tmp_path / "parts") == content_of(tmp_path / "whole")
    first, second = (load_file(tmp_path / run / "evaluation" / "embeddings.safetensors") for run in ("whole", "parts"))
    assert_same(first, second)
    assert [path.name for path in (tmp_path / "parts").glob(".*")] == []
