"""A checkpoint as MLflow asks it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from essnet.config import InputError
from essnet.training.checkpoint import copy_model, open_checkpoint, open_model
from essnet.training.prediction import predict_image
from essnet.training.served_model import ServedModel, _load_pyfunc
from essnet.training.trainer import Trainer
from essnet.training.trial import load_model
from tests.training.tiny import tiny_trial


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    best = Trainer(tiny_trial({"objective.name": "knn_softmax"}), directory=folder).train().best_checkpoint
    assert best is not None
    return best


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logged") / "model"
    copy_model(checkpoint, folder)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> ServedModel:
    return _load_pyfunc(str(folder), {"device": "cpu"})


def picture(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


def test_a_model_is_what_predicts_of_a_checkpoint(checkpoint: Path, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "config.yaml",
        "classes.json",
        "checksums.json",
    }
    assert open_model(folder).classes == open_checkpoint(checkpoint).classes
    with pytest.raises(InputError, match=r"trainer\.pt missing"):
        open_checkpoint(folder)


@pytest.mark.parametrize("size", [(32, 32), (21, 45)])
def test_every_kind_of_image_gives_the_ids_of_predict(
    served: ServedModel, checkpoint: Path, size: tuple[int, int]
) -> None:
    pixels = picture(*size)
    expected = predict_image(load_model(open_checkpoint(checkpoint), device=torch.device("cpu")), pixels)
    text = base64.encodebytes(png(pixels)).decode()  # with line ends
    for images in (
        pixels[None],
        pixels[None].astype(np.int64),
        pixels[None].tolist(),
        np.array(pixels[None].tolist(), dtype=object),  # what a server makes of nested lists
        [png(pixels)],
        np.array([text], dtype=object),
    ):
        for asked in (images, {"image": images}):
            ids = served.predict(asked)
            assert isinstance(ids, np.ndarray)
            assert ids.dtype == np.uint16
            np.testing.assert_array_equal(ids, expected[None])


def test_images_of_several_sizes_give_a_list(served: ServedModel) -> None:
    images = [picture(32, 32), picture(16, 24)]
    for asked in (images, [image.tolist() for image in images]):
        ids = served.predict(asked)
        assert [one.shape for one in ids] == [(32, 32), (16, 24)]
        for one, image in zip(ids, images, strict=True):
            np.testing.assert_array_equal(one, served.predict(image[None])[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "image: found none"),
        (picture(8, 8), r"image 0: found shape \(8, 3\); expected \(H, W, 3\).* a batch is \(N, H, W, 3\)"),
        (picture(8, 8)[None, ..., :2], r"image 0: found shape \(8, 8, 2\)"),
        ([picture(8, 8), np.zeros((8, 8, 3))], "image 1: found float64 values"),
        ([[[[0, 0, 256]]]], "image 0: found int64 values; expected .* from 0 to 255"),
        ([[[[0, 0, -1]]]], "image 0: found int64 values"),
        ([[[[0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]], "image 0: found rows of different length"),
        (["not base64!"], "image 0: found text that is no base64"),
        ([b"no picture"], r"image 0: cannot be read as an image \(no format that is known\)"),
        ([None], r"image 0: found shape \(\)"),
    ],
)
def test_what_is_no_image_is_refused_in_a_line(served: ServedModel, images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        served.predict(images)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="model_config: device: found 'tpu'"):
        _load_pyfunc(str(folder), {"device": "tpu"})
