"""`evaluate --save`: what the evaluation predicted, as pictures."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from essnet.cli.app import main
from essnet.data import FolderDataset, read_image
from essnet.training.checkpoint import open_checkpoint
from essnet.training.device import resolve_device
from essnet.training.prediction import predict_image
from essnet.training.prediction_files import PredictionFiles
from essnet.training.saved_predictions import SavedPredictions
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.data.fixtures import make_folder_dataset
from tests.training.tiny import tiny_trial


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two sizes."""
    root = make_folder_dataset(tmp_path_factory.mktemp("root"), num_images=2, size=(21, 37))
    other = make_folder_dataset(tmp_path_factory.mktemp("other"), num_images=1, size=(40, 18))
    for kind in ("images", "masks"):
        (other / kind / "val" / "000.png").rename(root / kind / "val" / "other.png")
    return root


@pytest.fixture(scope="module")
def checkpoint(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {"name": "folder", "root": str(root), "crop_size": 32}
    config = tiny_trial({"data": data, "trainer.max_steps": 1, "evaluation.batch_size": 1})
    found = Trainer(config, directory=tmp_path_factory.mktemp("run")).train().last_checkpoint
    assert found is not None
    return found


def evaluate(checkpoint: Path, *arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", str(checkpoint), *map(str, arguments)])
    return int(str(exit_.value.code))


def test_files_are_those_of_predict_at_the_images_own_sizes(
    checkpoint: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "predictions"
    assert evaluate(checkpoint, "--save", folder, "--output", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"] == str(folder)
    stems = ["000", "001", "other"]
    assert {path.name for path in folder.iterdir()} == {
        f"{stem}{end}.png" for stem in stems for end in ("", "_overlay")
    }
    opened = open_checkpoint(checkpoint)
    model = load_model(opened, device=resolve_device("cpu"))
    for stem in stems:
        image = read_image(root / "images" / "val" / f"{stem}.png")
        with Image.open(folder / f"{stem}.png") as labels:
            assert labels.mode == "I;16"
            assert np.array_equal(np.asarray(labels), predict_image(model, image))
        with Image.open(folder / f"{stem}_overlay.png") as overlay:
            assert overlay.height > image.shape[0]  # a legend is below it


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("protocol", "sizes"),
    [
        ("full", [(37, 21), (37, 21), (18, 40)]),
        ("sliding", [(37, 21), (37, 21), (18, 40)]),
        ("center_crop", [(32, 32)] * 3),
    ],
)
def test_padding_is_cut_off(
    checkpoint: Path, tmp_path: Path, protocol: str, sizes: list[tuple[int, int]], batch_size: int
) -> None:
    arguments = (f"evaluation.protocol={protocol}", f"evaluation.batch_size={batch_size}", "--output", tmp_path)
    assert evaluate(checkpoint, *arguments, "--save", tmp_path / "p") == 0
    for stem, size in zip(("000", "001", "other"), sizes, strict=True):
        assert Image.open(tmp_path / "p" / f"{stem}.png").size == size


def test_scenes_have_names_too(tmp_path: Path) -> None:
    trained = Trainer(tiny_trial({"trainer.max_steps": 1}), directory=tmp_path / "run").train().last_checkpoint
    assert trained is not None
    assert evaluate(trained, "--save", tmp_path / "p", "--output", tmp_path, "evaluation.split=test") == 0
    assert len(list((tmp_path / "p").glob("scene-*_overlay.png"))) == 256


def test_files_of_the_data_set_are_not_overwritten(
    checkpoint: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root / "images" / "val"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert evaluate(checkpoint, "--save", folder, "--output", tmp_path) == 2
    assert f"--save: {folder} holds files of the data set; choose another folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert evaluate(checkpoint, "--save", tmp_path / "file" / "p", "--output", tmp_path) == 2
    assert "--save: cannot write below" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_names_that_meet_begin_with_a_number(tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path, num_images=1)
    for kind in ("images", "masks"):
        # Its labels would have the name of the other one's overlay.
        (root / kind / "val" / "001.png").write_bytes((root / kind / "val" / "000.png").read_bytes())
        (root / kind / "val" / "001.png").rename(root / kind / "val" / "000_overlay.png")
    saved = SavedPredictions(tmp_path / "p", FolderDataset(root=root, split="val"), crop=None)
    assert saved._stems == ["000000-000", "000001-000_overlay"]


def test_an_interrupted_evaluation_leaves_whole_files(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = PredictionFiles.save

    def save_one(*arguments: Any) -> object:
        done = save(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return done

    monkeypatch.setattr(PredictionFiles, "save", save_one)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        assert evaluate(checkpoint, "--save", tmp_path / "p", "--output", tmp_path) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "interrupted" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["000.png", "000_overlay.png"]
