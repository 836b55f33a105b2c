"""Class indices, and how sure they are, of single images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from essnet.models import SegmentationModel
from essnet.training.image_sizes import padded
from essnet.training.uncertainty import uncertainty


@dataclass(frozen=True)
class Prediction:
    """What was found of an image."""

    ids: npt.NDArray[np.uint16]
    """Class index of each pixel, (H, W)."""
    uncertainty: npt.NDArray[np.float32] | None = None
    """How little each pixel is like its class, (H, W), as `uncertainty` says; None where it was not asked for."""


def predict_image(model: SegmentationModel, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return the class index of each pixel; the model is in evaluation mode.

    Shape
    -----
    image (H, W, 3) uint8 of any size -> (H, W) uint16.
    """
    return predict_batch(model, [image])[0].ids


@torch.no_grad()
def predict_batch(
    model: SegmentationModel, images: Sequence[npt.NDArray[np.uint8]], *, with_uncertainty: bool = False
) -> list[Prediction]:
    """Predict images (H, W, 3) uint8 at once, all of one size when they are `padded`; the model evaluates."""
    device = next(model.parameters()).device
    batch = torch.cat([padded(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], model) for image in images]).to(
        device
    )
    outputs = model(batch)
    ids = model.output_layer.predict(outputs, (batch.shape[-2], batch.shape[-1]))
    doubts = uncertainty(model.output_layer, outputs, ids).cpu().numpy() if with_uncertainty else None
    labels = ids.cpu().numpy().astype(np.uint16)
    found = []
    for index, (height, width) in enumerate(image.shape[:2] for image in images):
        doubt = None if doubts is None else doubts[index, :height, :width]
        found.append(Prediction(ids=labels[index, :height, :width], uncertainty=doubt))
    return found
