"""Images as people have them, through a whole small training: each is right, or one clear line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from essnet.training.trainer import Trainer
from tests.data.fixtures import make_folder_dataset
from tests.training.tiny import tiny_trial


def _grey(image: Image.Image, path: Path) -> Path:
    image.convert("L").save(path := path.with_suffix(".png"))
    return path


def _cmyk(image: Image.Image, path: Path) -> Path:
    image.convert("CMYK").save(path := path.with_suffix(".jpg"), quality=95)
    return path


def _sixteen_bit(image: Image.Image, path: Path) -> Path:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(path := path.with_suffix(".png"))
    return path


def _alpha(image: Image.Image, path: Path) -> Path:
    with_alpha = image.copy()
    with_alpha.putalpha(0)
    with_alpha.save(path := path.with_suffix(".png"))
    return path


def _exif(image: Image.Image, path: Path) -> Path:
    """Stored lying on its side, with the note that it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(path := path.with_suffix(".jpg"), exif=exif, quality=95)
    return path


KINDS: dict[str, Callable[[Image.Image, Path], Path]] = {
    "grey": _grey,
    "cmyk": _cmyk,
    "16-bit": _sixteen_bit,
    "alpha": _alpha,
    "exif": _exif,
}


def train(tmp_path: Path, root: Path) -> Trainer:
    config = tiny_trial(
        {
            "data": {"name": "folder", "root": str(root), "crop_size": 32, "scale": [0.8, 1.2]},
            "objective.name": "knn_softmax",
            "objective.num_neighbours": 2,
            "trainer.max_steps": 2,
        }
    )
    trainer = Trainer(config, directory=tmp_path / "run")
    metrics = trainer.train().metrics
    assert math.isfinite(metrics["val/loss"])
    assert 0 <= metrics["val/miou"] <= 1
    return trainer


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind(tmp_path: Path, kind: str) -> None:
    root = make_folder_dataset(tmp_path / "data", num_images=4, size=(36, 44))
    for split in ("train", "val"):
        for path in sorted((root / "images" / split).iterdir()):
            image = Image.open(path).convert("RGB")
            path.unlink()
            KINDS[kind](image, path)
    trainer = train(tmp_path, root)
    image, mask = trainer.trial.train_data[0]
    assert tuple(image.shape) == (3, 36, 44)  # upright
    assert tuple(mask.shape) == (36, 44)
    grey = 20 + 40 * mask.numpy()  # what the fixture painted, within what a JPEG keeps
    assert abs(image.float().mean(0).numpy() - grey).mean() < 12


def test_images_smaller_than_the_crop(tmp_path: Path) -> None:
    train(tmp_path, make_folder_dataset(tmp_path / "data", num_images=4, size=(9, 13)))
