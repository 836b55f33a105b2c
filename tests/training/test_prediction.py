from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from essnet.config import InputError
from essnet.data import ClassTable, build_dataset, eval_loader
from essnet.data.transforms import PADDING_COLOUR
from essnet.models import SegmentationModel
from essnet.training.prediction import Prediction, predict_batch, predict_image
from essnet.training.prediction_files import PredictionFiles
from essnet.training.trial import build_trial
from essnet.training.uncertainty import UncertaintyScale
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


@pytest.mark.parametrize("with_uncertainty", [False, True])
def test_a_batch_is_its_images(model: SegmentationModel, with_uncertainty: bool) -> None:
    images = [picture(33, 47), picture(48, 48)[::-1], picture(40, 33)]  # padded they are 48 x 48
    found = predict_batch(model, images, with_uncertainty=with_uncertainty)
    assert len(found) == 3
    for image, prediction in zip(images, found, strict=True):
        assert np.array_equal(prediction.ids, predict_image(model, image))
        if with_uncertainty:
            assert prediction.uncertainty is not None
            assert prediction.uncertainty.shape == image.shape[:2]
            alone = predict_batch(model, [image], with_uncertainty=True)[0].uncertainty
            assert alone is not None
            np.testing.assert_allclose(prediction.uncertainty, alone, rtol=1e-4, atol=1e-5)
        else:
            assert prediction.uncertainty is None


def test_files_read_back_equal(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 255], [256, 1283, 65535]], np.uint16)
    doubt = np.array([[0, 0.25, 0.5], [0.75, 1, 1.5]], np.float32)
    classes = ClassTable(tuple(str(index) for index in range(65536)))
    files = PredictionFiles(classes=classes, uncertainty=UncertaintyScale("distance", most=1.0), uncertainty_array=True)
    paths = files.save(picture(2, 3), Prediction(ids=ids, uncertainty=doubt), tmp_path / "below" / "a.b")
    names = {
        "labels": "a.b.png",
        "overlay": "a.b_overlay.png",
        "uncertainty": "a.b_uncertainty.png",
        "uncertainty_array": "a.b_uncertainty.npy",
    }
    assert {kind: path.name for kind, path in paths.items()} == names
    assert sorted(path.name for path in (tmp_path / "below").iterdir()) == sorted(names.values())
    with Image.open(paths["labels"]) as file:
        assert file.mode == "I;16"
        assert np.array_equal(np.asarray(file), ids)
    with Image.open(paths["overlay"]) as file:
        assert file.mode == "RGB"
    array = np.load(paths["uncertainty_array"])
    assert array.dtype == np.float32
    assert np.array_equal(array, doubt)


def test_more_classes_than_a_png_tells_apart() -> None:
    names = tuple(str(index) for index in range(65537))
    with pytest.raises(InputError, match=r"65,537 classes: the PNGs of predictions tell 65,536 apart at most"):
        PredictionFiles(classes=ClassTable(names))


def test_without_being_asked_there_are_two_files(tmp_path: Path) -> None:
    files = PredictionFiles(classes=ClassTable(("a",)))
    assert not files.need_uncertainty
    files.save(picture(2, 3), Prediction(ids=np.zeros((2, 3), np.uint16)), tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x_overlay.png"]
