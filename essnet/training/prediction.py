"""Class indices of a single image of any size, and the files that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from essnet.atomic_files import write_atomically
from essnet.data import ClassTable, colour_overlay
from essnet.data.transforms import PADDING_COLOUR
from essnet.models import SegmentationModel


@torch.no_grad()
def predict_image(model: SegmentationModel, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return the class index of each pixel; the model is in evaluation mode.

    Shape
    -----
    image (H, W, 3) uint8 of any size -> (H, W) uint16.
    """
    height, width = image.shape[:2]
    multiple = model.stride_multiple
    bottom = max(-height % multiple, model.minimum_side - height)
    right = max(-width % multiple, model.minimum_side - width)
    padded = torch.tensor(PADDING_COLOUR, dtype=torch.uint8).repeat(height + bottom, width + right, 1)
    padded[:height, :width] = torch.from_numpy(np.array(image))
    batch = padded.permute(2, 0, 1)[None].to(next(model.parameters()).device)
    ids = model.output_layer.predict(model(batch), (height + bottom, width + right))[0, :height, :width]
    return ids.cpu().numpy().astype(np.uint16)


def result_names(stem: str) -> tuple[str, str]:
    """Return the names of the files that `save_prediction` writes: class indices, and the picture for people."""
    return f"{stem}.png", f"{stem}_overlay.png"


def save_prediction(
    image: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint16], classes: ClassTable, stem: Path
) -> tuple[Path, Path]:
    """Write `<stem>.png` (16-bit class indices) and `<stem>_overlay.png`; return both paths."""
    labels, overlay = (stem.with_name(name) for name in result_names(stem.name))
    write_atomically(labels, lambda path: Image.fromarray(ids).save(path, format="png"))
    coloured = colour_overlay(
        torch.from_numpy(np.array(image)).permute(2, 0, 1),
        torch.from_numpy(ids.astype(np.int64)),
        classes.colours,
    )
    write_atomically(overlay, lambda path: Image.fromarray(coloured).save(path, format="png"))
    return labels, overlay
