"""A trained model behind MLflow's `pyfunc` interface. MLflow loads this module by its name; it needs nothing of MLflow.

What is loaded are weights as safetensors, a configuration as YAML and class names as JSON: nothing is unpickled.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from essnet.config import InputError
from essnet.data import read_image
from essnet.models import SegmentationModel
from essnet.training.checkpoint import open_model
from essnet.training.device import resolve_device
from essnet.training.prediction import predict_image
from essnet.training.trial import load_model

INPUT_NAME = "image"
"""Name of the one input; MLflow hands over a mapping with it, whatever it was asked with."""

Ids: TypeAlias = npt.NDArray[np.uint16]
Pixels: TypeAlias = npt.NDArray[np.uint8]


class ServedModel:
    """Predicts as `launch.py predict` does, to the same class indices."""

    def __init__(self, model: SegmentationModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Ids | list[Ids]:
        """Return the class index of each pixel of each image: (N, H, W), or a list of (H, W) where sizes differ.

        An image is uint8 (H, W, 3) in RGB, as an array or as nested lists of whole numbers, or a picture file such
        as a PNG or JPEG, as bytes or as base64 text. There are no `params`.

        Raises
        ------
        InputError
            If there is no image, or one is something else.
        """
        images = model_input[INPUT_NAME] if isinstance(model_input, Mapping) else model_input
        predicted = [predict_image(self._model, _pixels(image, index)) for index, image in enumerate(images)]
        if not predicted:
            raise InputError(f"{INPUT_NAME}: found none; expected at least one")
        return np.stack(predicted) if len({ids.shape for ids in predicted}) == 1 else predicted


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedModel:
    """Load the model in a folder that `copy_model` filled; MLflow calls this by its name.

    `model_config` may name the `device`: auto (the default), cpu, cuda, cuda:0, ...
    """
    device = resolve_device((model_config or {}).get("device", "auto"), key="model_config: device")
    return ServedModel(load_model(open_model(Path(path)), device=device))


def _pixels(image: Any, index: int) -> Pixels:
    name = f"{INPUT_NAME} {index}"
    if isinstance(image, str):
        try:
            image = base64.b64decode("".join(image.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InputError(f"{name}: found text that is no base64; expected a picture file's bytes in it") from None
    if isinstance(image, bytes):
        return read_image(Path(name), content=image)
    if isinstance(image, np.ndarray) and image.dtype == object:
        image = image.tolist()  # numbers that came as nested lists
    try:
        values = np.asarray(image)
    except ValueError:
        raise InputError(f"{name}: found rows of different length; expected {_EXPECTED}") from None
    if values.ndim != 3 or values.shape[2] != 3 or not values.size:
        raise InputError(f"{name}: found shape {values.shape}; expected {_EXPECTED}")
    if values.dtype != np.uint8 and not (
        np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() <= 255
    ):
        raise InputError(f"{name}: found {values.dtype} values; expected {_EXPECTED}")
    return values.astype(np.uint8)


_EXPECTED = "(H, W, 3) of whole numbers from 0 to 255, a batch is (N, H, W, 3); or a picture file, as bytes or base64"
