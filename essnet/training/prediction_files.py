"""The files that hold a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from essnet.atomic_files import write_atomically, write_png
from essnet.config import InputError
from essnet.data import ClassTable
from essnet.data.overlay_picture import overlay_picture, uncertainty_picture
from essnet.training.prediction import Prediction
from essnet.training.uncertainty import UncertaintyScale

_MOST_CLASSES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class PredictionFiles:
    """Which files are written of each image, all of which are there whole or not at all.

    `STEM.png`, the class indices in 16 bits, and `STEM_overlay.png` for people, always.

    Raises
    ------
    InputError
        If there are more classes than 16 bits can tell apart.
    """

    classes: ClassTable
    side_by_side: bool = False
    """The overlay's picture shows the image beside it."""
    uncertainty: UncertaintyScale | None = None
    """The scale of `STEM_uncertainty.png`; None: no such picture."""
    uncertainty_array: bool = False
    """Also `STEM_uncertainty.npy`: (H, W) float32."""

    def __post_init__(self) -> None:
        if self.classes.num_classes > _MOST_CLASSES:
            raise InputError(
                f"{self.classes.num_classes:,} classes: the PNGs of predictions tell {_MOST_CLASSES:,} apart at most"
            )

    @property
    def need_uncertainty(self) -> bool:
        """Whether any of the files does."""
        return self.uncertainty is not None or self.uncertainty_array

    def names(self, stem: str) -> dict[str, str]:
        """Return the names of the files by what they are: labels, overlay, uncertainty, uncertainty_array."""
        names = {"labels": f"{stem}.png", "overlay": f"{stem}_overlay.png"}
        if self.uncertainty is not None:
            names["uncertainty"] = f"{stem}_uncertainty.png"
        if self.uncertainty_array:
            names["uncertainty_array"] = f"{stem}_uncertainty.npy"
        return names

    def paths(self, stem: Path) -> dict[str, Path]:
        """Return where the files of `stem`, a path without suffix, are."""
        return {kind: stem.with_name(name) for kind, name in self.names(stem.name).items()}

    def save(self, image: npt.NDArray[np.uint8], prediction: Prediction, stem: Path) -> dict[str, Path]:
        """Write the files and return where they are, making the folder where it is missing."""
        paths = self.paths(stem)
        overlay = overlay_picture(image, prediction.ids, self.classes, side_by_side=self.side_by_side)
        write_png(paths["labels"], Image.fromarray(prediction.ids))
        write_png(paths["overlay"], overlay, quickly=True)
        if self.uncertainty is not None:
            assert prediction.uncertainty is not None
            scale = self.uncertainty
            picture = uncertainty_picture(prediction.uncertainty, caption=scale.caption, most=scale.most)
            write_png(paths["uncertainty"], picture, quickly=True)
        if self.uncertainty_array:
            assert prediction.uncertainty is not None
            values = prediction.uncertainty
            write_atomically(paths["uncertainty_array"], lambda path: _save_array(path, values))
        return paths


def _save_array(path: Path, values: npt.NDArray[np.float32]) -> None:
    with path.open("wb") as file:  # given a path, numpy would add a suffix to it
        np.save(file, values)
