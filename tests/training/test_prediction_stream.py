from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from essnet.data import ClassTable, read_image
from essnet.models import SegmentationModel
from essnet.training import prediction_stream as module
from essnet.training.prediction import Prediction, predict_batch, predict_image
from essnet.training.prediction_files import PredictionFiles
from essnet.training.prediction_inputs import PredictionInput, find_inputs
from essnet.training.prediction_stream import PredictionsDone, PredictionStream
from essnet.training.trial import build_trial
from tests.data.test_video_frames import write_video
from tests.training.tiny import NUM_CLASSES, tiny_trial

FILES = PredictionFiles(classes=ClassTable(tuple(str(index) for index in range(NUM_CLASSES))))


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return build_trial(tiny_trial({"objective.name": "embedding_softmax"}), cache_dir=None).model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven images of three sizes, two of which are one when they are padded."""
    random = np.random.default_rng(3)
    (tmp_path / "in").mkdir()
    for number in range(11):
        height, width = [(20, 30), (31, 17), (40, 50)][number % 3]
        pixels = random.integers(256, size=(height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number:02}.png")
    return tmp_path / "in"


def inputs_of(folder: Path) -> list[PredictionInput]:
    return find_inputs([folder], output=folder.parent / "out", seconds=1)


def run(model: SegmentationModel, folder: Path, batch_size: int, **options: Any) -> PredictionsDone:
    stream = PredictionStream(model, files=FILES, output=folder.parent / "out", batch_size=batch_size, **options)
    return stream.run(inputs_of(folder))


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_all_are_predicted_as_they_are_alone(model: SegmentationModel, folder: Path, batch_size: int) -> None:
    told: list[tuple[int, int]] = []
    done = run(model, folder, batch_size, progress=lambda count, total: told.append((count, total)))
    assert told == [(count, 11) for count in range(1, 12)]
    assert {item.path for item in done.saved} == set(folder.iterdir())
    for item, paths in done.saved.items():
        assert np.array_equal(np.asarray(Image.open(paths["labels"])), predict_image(model, read_image(item.path)))
    assert len(list((folder.parent / "out").iterdir())) == 22


def test_batches_are_full_and_no_larger_than_memory_allows(
    model: SegmentationModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(model: SegmentationModel, images: Any, **options: Any) -> list[Prediction]:
        sizes.append(len(images))
        return predict_batch(model, images, **options)

    monkeypatch.setattr(module, "predict_batch", counted)
    run(model, folder, 4)
    assert sizes == [4, 4, 3]  # of 32 x 32, of which there are eight, and of 48 x 64
    sizes.clear()
    monkeypatch.setattr(module, "MOST_PIXELS", 2 * 32 * 32)
    run(model, folder, 4)
    assert sizes == [2, 2, 2, 2, 1, 1, 1]


def test_one_that_is_damaged_does_not_keep_the_others_from_it(model: SegmentationModel, folder: Path) -> None:
    whole = (folder / "04.png").read_bytes()
    (folder / "04.png").write_bytes(whole[: len(whole) // 2])
    done = run(model, folder, 3)
    assert [str(item.stem) for item in done.unreadable] == ["04"]
    assert len(done.saved) == 10
    assert "04.png: cannot be read as an image" in str(next(iter(done.unreadable.values())))


def test_however_many_there_are_only_a_few_are_held(
    model: SegmentationModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, saved, most = 0, 0, 0
    lock = threading.Lock()
    original_read, original_save = PredictionInput.read, PredictionFiles.save

    def reading(self: PredictionInput) -> Any:
        nonlocal read, most
        with lock:
            read += 1
            most = max(most, read - saved)
        return original_read(self)

    def saving(self: PredictionFiles, *arguments: Any) -> Any:
        nonlocal saved
        paths = original_save(self, *arguments)
        with lock:
            saved += 1
        return paths

    monkeypatch.setattr(PredictionInput, "read", reading)
    monkeypatch.setattr(PredictionFiles, "save", saving)
    for number in range(11, 60):
        (folder / f"{number}.png").write_bytes((folder / "00.png").read_bytes())
    assert len(run(model, folder, 2).saved) == 60
    assert most <= 2 * 2 + 2 + 2 * 2 + 2  # read ahead, being predicted, waiting to be written, being read


def test_frames_of_videos_come_in_their_order(model: SegmentationModel, folder: Path) -> None:
    for name in ("x", "y"):
        write_video(folder / f"{name}.mp4", size=(32, 32))
    done = run(model, folder, 4)
    assert not done.unreadable
    assert len(done.saved) == 11 + 2 * 3


def test_a_disk_that_is_full_ends_it(model: SegmentationModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: PredictionFiles, *arguments: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(PredictionFiles, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run(model, folder, 3)


def test_nothing_to_do(model: SegmentationModel, tmp_path: Path) -> None:
    done = PredictionStream(model, files=FILES, output=tmp_path, batch_size=2).run([])
    assert (done.saved, done.unreadable) == ({}, {})
