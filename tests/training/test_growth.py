"""New classes for a trained model: what stays, what is found, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from essnet.config import InputError
from essnet.data import ClassTable, FolderDataset, TexturesDataset, eval_loader
from essnet.metrics import ConfusionCounts
from essnet.training.checkpoint import open_checkpoint
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.evaluation import count_batches
from essnet.training.grown_classes import grown_classes, old_and_new_miou
from essnet.training.growth import new_rows, write_grown
from essnet.training.growth_examples import open_examples
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.training.tiny import assert_same, tiny_trial

CPU = torch.device("cpu")
OLD, ALL = 6, 9
NAMES = tuple(f"texture {index}" for index in range(ALL))
TABLE = "output_layer.class_embeddings"
SIMILARITIES = ("l2", "cosine", "dot")


def write_scenes(root: Path, folder: str, scenes: TexturesDataset, ids: dict[int, int]) -> Path:
    """Scenes as files; `ids` says how a class is written in the masks, all others are 255."""
    for kind in ("images", "masks"):
        (root / kind / folder).mkdir(parents=True)
    for number in range(len(scenes)):
        image, mask = scenes[number]
        values = np.full(mask.shape, 255, np.uint8)
        for index, value in ids.items():
            values[mask.numpy() == index] = value
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / "images" / folder / f"{number:03}.png")
        Image.fromarray(values).save(root / "masks" / folder / f"{number:03}.png")
    names = sorted(ids, key=lambda index: ids[index])
    (root / "classes.txt").write_text("".join(f"{NAMES[index]}\n" for index in names))
    return root


def scenes(split: str, length: int) -> TexturesDataset:
    return TexturesDataset(split=split, num_classes=ALL, size=(32, 32), length=length)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    old, every = ({index: index for index in range(count)} for count in (OLD, ALL))
    write_scenes(root / "old", "train", scenes("train", 160), old)
    write_scenes(root / "old", "val", scenes("val", 4), old)
    write_scenes(root / "all", "val", scenes("val", 40), every)
    # Ids in another order than the checkpoint's: it is the names that count.
    write_scenes(root / "examples", "train", scenes("test", 24), {index: ALL - 1 - index for index in range(ALL)})
    write_scenes(root / "new-only", "", scenes("test", 24), {index: index - OLD for index in range(OLD, ALL)})
    return root


@pytest.fixture(scope="module", params=SIMILARITIES)
def checkpoint(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained without the last classes."""
    config = tiny_trial(
        {
            "data": {"name": "folder", "root": str(data / "old"), "crop_size": 32, "scale": [1.0, 1.0], "flip": 0.0},
            "data.num_classes": OLD,
            "objective.name": "embedding_softmax",
            "objective.embedding_dim": 16,
            "objective.similarity": request.param,
            "optimizer": {"name": "adamw", "lr": 4e-3, "class_embeddings_lr_factor": 10.0},
            "schedule": {"name": "one_cycle"},
            "trainer.max_steps": 80,
            "trainer.batch_size": 16,
            "evaluation.every_steps": 80,
        }
    )
    best = Trainer(config, directory=tmp_path_factory.mktemp("run")).train().best_checkpoint
    assert best is not None
    return best


def grow(checkpoint: Path, examples: Path, output: Path, *, learn: int = 0) -> Path:
    opened = open_checkpoint(checkpoint)
    new = NAMES[opened.classes.num_classes :]
    table = grown_classes(opened.classes, new, source=Path("new.txt"))
    found = new_rows(
        opened,
        open_examples(examples, classes=table, ignore_value=255),
        classes=table,
        device=CPU,
        learn_steps=learn,
    )
    folder = CheckpointFolder(output)
    write_grown(opened, found.rows, classes=table, name="grown", folder=folder)
    best = folder.best()
    assert best is not None
    return best


def ious(checkpoint: Path, data: Path) -> torch.Tensor:
    counts = ConfusionCounts(ALL)
    model = load_model(open_checkpoint(checkpoint), device=CPU)
    batches = eval_loader(FolderDataset(root=data / "all", split="val"), batch_size=20)
    count_batches(model, batches, counts=counts, device=CPU)
    return counts.per_class_iou()


@pytest.mark.parametrize("learn", [0, 3])
def test_all_that_was_there_stays_bit_for_bit(checkpoint: Path, data: Path, tmp_path: Path, learn: int) -> None:
    grown = grow(checkpoint, data / "examples", tmp_path, learn=learn)
    before, after = open_checkpoint(checkpoint).weights(), open_checkpoint(grown).weights()
    assert after[TABLE].shape == (ALL, 16)
    assert_same(after.pop(TABLE)[:OLD], before.pop(TABLE))
    assert_same(after, before)


def test_where_no_new_class_wins_predictions_are_as_before(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    models = [
        load_model(open_checkpoint(path), device=CPU)
        for path in (checkpoint, grow(checkpoint, data / "examples", tmp_path))
    ]
    images, _ = next(iter(eval_loader(FolderDataset(root=data / "all", split="val"), batch_size=40)))
    with torch.no_grad():
        before, after = (model.output_layer.predict(model(images), (32, 32)) for model in models)
    old_wins = after < OLD
    assert 0.05 < old_wins.float().mean() < 1
    assert torch.equal(after[old_wins], before[old_wins])


def test_new_classes_are_found_from_examples(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    chance = ious(_with_random_rows(checkpoint, tmp_path / "random"), data)[OLD:].mean()
    means = ious(grow(checkpoint, data / "examples", tmp_path / "means"), data)
    learned = ious(grow(checkpoint, data / "examples", tmp_path / "learned", learn=60), data)
    assert means[OLD:].mean() > 2 * chance
    assert learned.mean() > means.mean()


def test_new_classes_may_be_all_that_is_labelled(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    # Both folders label the same pixels of the new classes, and show the same scenes.
    both = [grow(checkpoint, data / name, tmp_path / name) for name in ("examples", "new-only")]
    first, second = (open_checkpoint(path).weights()[TABLE] for path in both)
    torch.testing.assert_close(first, second)
    with pytest.raises(InputError, match="no pixel of a class that the checkpoint knows"):
        grow(checkpoint, data / "new-only", tmp_path, learn=1)


def test_rows_are_the_means_of_a_loop_over_pixels(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(checkpoint)
    model = load_model(opened, device=CPU)
    of_class: dict[int, list[torch.Tensor]] = {index: [] for index in range(ALL)}
    every = []
    with torch.no_grad():
        for number in range(24):
            image, mask = scenes("test", 24)[number]
            embeddings = model.output_layer.comparable_embeddings(model(image[None]), (32, 32))[0]
            for row in range(32):
                for column in range(32):
                    every.append(embeddings[:, row, column])
                    of_class[int(mask[row, column])].append(embeddings[:, row, column])
    old = opened.weights()[TABLE]
    centre = torch.stack(every).mean(0) if opened.config.objective.similarity != "dot" else torch.zeros(16)
    rows = open_checkpoint(grow(checkpoint, data / "examples", tmp_path)).weights()[TABLE][OLD:]
    for row, index in zip(rows, range(OLD, ALL), strict=True):
        direction = torch.stack(of_class[index]).mean(0) - centre
        expected = direction / direction.norm() * old.norm(dim=1).mean()
        torch.testing.assert_close(row, expected, rtol=1e-3, atol=1e-4)


def test_a_grown_checkpoint_knows_what_was_added(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    grown = grow(checkpoint, data / "examples", tmp_path)
    opened = open_checkpoint(grown)
    assert opened.classes.names == NAMES
    assert opened.config.name == "grown"
    assert opened.config.data.num_classes == ALL
    assert [row.get("added", False) for row in json.loads((grown / "classes.json").read_text())] == [False] * 6 + [
        True
    ] * 3
    assert opened.classes.added == range(OLD, ALL)
    assert not open_checkpoint(checkpoint).classes.added
    further = grown_classes(opened.classes, ["pond"], source=Path("more.txt"))
    assert further.added == range(OLD, ALL + 1)


def test_examples_without_a_pixel_of_a_new_class_are_named(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    lacking = write_scenes(tmp_path / "lacking", "", scenes("test", 24), {index: index for index in range(ALL - 1)})
    with pytest.raises(InputError, match=f"no pixel is labelled '{NAMES[-1]}'"):
        grow(checkpoint, lacking, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_examples_of_one_class_and_nothing_else(checkpoint: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(checkpoint)
    one = TexturesDataset(split="test", num_classes=1, size=(32, 32), length=2)
    root = write_scenes(tmp_path / "one", "", one, {0: 0})
    (root / "classes.txt").write_text("moss\n")
    table = grown_classes(opened.classes, ["moss"], source=Path("new.txt"))
    examples = open_examples(root, classes=table, ignore_value=255)
    if opened.config.objective.similarity == "dot":
        assert new_rows(opened, examples, classes=table, device=CPU).rows.isfinite().all()
    else:
        with pytest.raises(InputError, match="pixels of 'moss' look like what the examples show on average"):
            new_rows(opened, examples, classes=table, device=CPU)


def test_padding_is_no_pixel(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    # The network pads 24 x 24 to 32 x 32; what it pads with belongs to no class, and not to the average either.
    small = TexturesDataset(split="test", num_classes=ALL, size=(24, 24), length=30)
    root = write_scenes(tmp_path / "small", "", small, {index: index for index in range(ALL)})
    opened = open_checkpoint(checkpoint)
    table = grown_classes(opened.classes, NAMES[OLD:], source=Path("new.txt"))
    found = new_rows(opened, open_examples(root, classes=table, ignore_value=255), classes=table, device=CPU)
    expected = torch.bincount(torch.cat([small[index][1].flatten() for index in range(30)]), minlength=ALL)
    assert found.pixels.tolist() == expected[OLD:].tolist()


def test_palettes_grow_by_colours_that_are_free() -> None:
    old = ClassTable(("a", "b"), palette=((223, 48, 48), (1, 2, 3)))
    table = grown_classes(old, ["c", "d"], source=Path("new.txt"))
    assert table.palette is not None
    assert table.palette[:2] == old.palette
    assert len(set(table.palette)) == 4


def test_old_and_new_classes_apart() -> None:
    counts = ConfusionCounts(4)
    counts.update(torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 2, 2, 1]))
    # IoU: 1/2, 1/3, 2/3, and a class that is nowhere.
    assert old_and_new_miou(counts, range(2, 4)) == pytest.approx({"val/miou_old": 5 / 12, "val/miou_new": 2 / 3})
    assert old_and_new_miou(counts, range(3, 4)) == pytest.approx({"val/miou_old": 0.5, "val/miou_new": 0.0})
    assert old_and_new_miou(counts, range(4, 4)) == {}


def _with_random_rows(checkpoint: Path, output: Path) -> Path:
    opened = open_checkpoint(checkpoint)
    table = grown_classes(opened.classes, NAMES[OLD:], source=Path("new.txt"))
    old = opened.weights()[TABLE]
    rows = torch.randn((ALL - OLD, old.shape[1]), generator=torch.Generator().manual_seed(0))
    folder = CheckpointFolder(output)
    rows = rows / rows.norm(dim=1, keepdim=True) * old.norm(dim=1).mean()
    write_grown(opened, rows, classes=table, name="random", folder=folder)
    best = folder.best()
    assert best is not None
    return best
