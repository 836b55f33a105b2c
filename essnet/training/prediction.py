"""Class indices of a single image of any size, and the files that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from essnet.atomic_files import write_png
from essnet.data import ClassTable, colour_overlay
from essnet.models import SegmentationModel
from essnet.training.image_sizes import padded


@torch.no_grad()
def predict_image(model: SegmentationModel, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return the class index of each pixel; the model is in evaluation mode.

    Shape
    -----
    image (H, W, 3) uint8 of any size -> (H, W) uint16.
    """
    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    batch = padded(pixels.to(next(model.parameters()).device), model)
    ids = model.output_layer.predict(model(batch), (batch.shape[-2], batch.shape[-1]))[0, :height, :width]
    return ids.cpu().numpy().astype(np.uint16)


def result_names(stem: str) -> tuple[str, str]:
    """Return the names of the files that `save_prediction` writes: class indices, and the picture for people."""
    return f"{stem}.png", f"{stem}_overlay.png"


def save_prediction(
    image: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint16], classes: ClassTable, stem: Path
) -> tuple[Path, Path]:
    """Write `<stem>.png` (16-bit class indices) and `<stem>_overlay.png`; return both paths."""
    labels, overlay = (stem.with_name(name) for name in result_names(stem.name))
    write_png(labels, Image.fromarray(ids))
    coloured = colour_overlay(
        torch.from_numpy(np.array(image)).permute(2, 0, 1),
        torch.from_numpy(ids.astype(np.int64)),
        classes.colours,
    )
    write_png(overlay, Image.fromarray(coloured))
    return labels, overlay
