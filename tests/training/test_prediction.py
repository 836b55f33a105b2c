from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from essnet.data import ClassTable, build_dataset, eval_loader
from essnet.data.transforms import PADDING_COLOUR
from essnet.models import SegmentationModel
from essnet.training.prediction import predict_image, save_prediction
from essnet.training.trial import build_trial
from tests.data.fixtures import make_folder_dataset
from tests.training.tiny import tiny_trial


@pytest.fixture(scope="module", params=["full_softmax", "knn_softmax"])
def model(request: pytest.FixtureRequest) -> SegmentationModel:
    config = tiny_trial({"objective.name": request.param, "data.num_classes": 40})
    return build_trial(config, cache_dir=None).model.eval()


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (32, 32), (16, 100)])
def test_an_image_of_any_size_is_that_of_a_padded_one(model: SegmentationModel, size: tuple[int, int]) -> None:
    height, width = size
    image = picture(height, width)
    padded = np.empty((-(-height // 16) * 16, -(-width // 16) * 16, 3), np.uint8)
    padded[...] = PADDING_COLOUR
    padded[:height, :width] = image
    ids = predict_image(model, image)
    assert ids.shape == size
    assert ids.dtype == np.uint16
    assert np.array_equal(ids, predict_image(model, padded)[:height, :width])


def test_an_image_that_is_no_contiguous_array(model: SegmentationModel) -> None:
    image = picture(48, 64)
    assert np.array_equal(predict_image(model, image[::-1, ::2]), predict_image(model, image[::-1, ::2].copy()))


def test_prediction_is_that_of_the_evaluation(model: SegmentationModel, tmp_path: Path) -> None:
    root = make_folder_dataset(tmp_path, num_images=1, size=(21, 37))
    config = tiny_trial({"data": {"name": "folder", "root": str(root), "crop_size": 32}})
    data = build_dataset(config.data, "val")
    images, targets = next(iter(eval_loader(data, batch_size=1, multiple=model.stride_multiple)))
    with torch.no_grad():
        expected = model.output_layer.predict(model(images), (targets.shape[1], targets.shape[2]))[0, :21, :37]
    found = predict_image(model, np.asarray(Image.open(root / "images" / "val" / "000.png")))
    assert np.array_equal(found, expected.numpy())


def test_an_architecture_with_a_smallest_size() -> None:
    config = tiny_trial({"model.architecture": "pan", "data.crop_size": 128})
    model = build_trial(config, cache_dir=None).model.eval()
    assert predict_image(model, picture(40, 130)).shape == (40, 130)


def test_files_read_back_equal(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 255], [256, 1283, 65535]], np.uint16)
    image = picture(2, 3)
    names = tuple(str(index) for index in range(65536))
    labels, overlay = save_prediction(image, ids, ClassTable(names), tmp_path / "a.b")
    assert (labels.name, overlay.name) == ("a.b.png", "a.b_overlay.png")
    with Image.open(labels) as file:
        assert file.mode == "I;16"
        assert np.array_equal(np.asarray(file), ids)
    with Image.open(overlay) as file:
        assert file.mode == "RGB"
        assert file.size == (3, 2)
        assert not np.array_equal(np.asarray(file), image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.png", "a.b_overlay.png"]
