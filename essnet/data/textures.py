"""`textures`: scenes generated on the fly, for a machine without data or network."""

from __future__ import annotations

import operator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from essnet.data.class_table import ClassTable

Sample: TypeAlias = tuple[tv_tensors.Image, tv_tensors.Mask]
Floats: TypeAlias = npt.NDArray[np.float32]

SPLITS = {"train": 1, "val": 2, "test": 3}

# A pattern's value at (u, v), the coordinates along its two axes in radians, is
#   clip(gain * (a sin(u + bend sin v) + b sin v + c sin u sin v + bias), -1, 1).
PATTERNS = {
    #           a,   b,   c, bend, bias, gain
    "stripes": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "bars": (1.0, 0.0, 0.0, 0.0, 0.0, 6.0),
    "checks": (0.0, 0.0, 1.0, 0.0, 0.0, 6.0),
    "dots": (0.5, 0.5, 0.0, 0.0, -0.3, 6.0),
    "weave": (0.5, 0.5, 0.0, 0.0, 0.0, 1.2),
    "waves": (1.0, 0.0, 0.0, 1.5, 0.0, 3.0),
}

WAVELENGTH_PX = (4.0, 14.0)
COLOUR_RANGE = (16.0, 239.0)
LONG_TAIL = 0.6  # the class of rank r is drawn with weight (1 + r) ** -LONG_TAIL
GROUPS = ("frequent", "common", "rare")
COLOUR_JITTER = 6.0  # standard deviation in grey levels, per region
ANGLE_JITTER = 0.08  # standard deviation in radians, per region
WAVELENGTH_JITTER = 0.06  # relative standard deviation, per region
NOISE = 10.0  # standard deviation in grey levels, per pixel and channel


class TexturesDataset(Dataset[Sample]):
    """Scenes of 4 to 8 Voronoi regions, each filled with the texture of its class.

    A class is two colours, a pattern, a wavelength and an orientation, drawn once from `seed`; scenes add
    jitter per region, noise per pixel, and long-tailed class frequencies: the class of rank r is drawn with weight
    (1 + r) ** -`long_tail`, and 0 makes all as frequent. Item i depends on these, `split` and i alone. All splits share
    the textures and differ in their scenes. `frequency_groups` holds, for each class index, in which third of the ranks
    it is: frequent, common or rare.

    Items: image uint8 (3, H, W) and mask int64 (H, W) with class indices; `size` is (H, W) in pixels.
    Raises ValueError for an unknown split and for numbers that make no data set.
    """

    def __init__(
        self,
        *,
        split: str,
        num_classes: int = 64,
        size: tuple[int, int] = (64, 64),
        length: int,
        seed: int = 0,
        long_tail: float = LONG_TAIL,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is unknown; textures has {', '.join(SPLITS)}")
        if seed < 0:
            raise ValueError(f"seed={seed} must not be negative")
        if not long_tail >= 0:
            raise ValueError(f"long_tail={long_tail} must not be negative")
        for name, value in {"num_classes": num_classes, "length": length, "size": min(size)}.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.classes = ClassTable(tuple(f"texture {index}" for index in range(num_classes)))
        self._key = (seed, SPLITS[split])
        self._length = length
        self._size = size
        self._draw_classes(np.random.default_rng((seed, 0)), num_classes, long_tail)

    def _draw_classes(self, rng: np.random.Generator, num_classes: int, long_tail: float) -> None:
        low, high = np.log(WAVELENGTH_PX)
        self._colours = rng.uniform(*COLOUR_RANGE, size=(num_classes, 2, 3)).astype(np.float32)
        self._patterns = np.array(list(PATTERNS.values()), np.float32)[rng.integers(len(PATTERNS), size=num_classes)]
        self._wavelengths = np.exp(rng.uniform(low, high, size=num_classes)).astype(np.float32)
        self._angles = rng.uniform(0, np.pi, size=num_classes).astype(np.float32)
        # The rank is drawn as well, so that a class index says nothing about how frequent its class is.
        ranks = rng.permutation(num_classes)
        weights = (1.0 + ranks) ** -long_tail
        self._cumulative = np.cumsum(weights / weights.sum())
        of_class = (GROUPS[len(GROUPS) * rank // num_classes] for rank in ranks.tolist())
        self.frequency_groups: tuple[str | None, ...] = tuple(of_class)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        index = operator.index(index)
        if not 0 <= index < self._length:
            raise IndexError(f"index {index} is outside the data set's {self._length} scenes")
        rng = np.random.default_rng((*self._key, index))
        num_regions = int(rng.integers(4, 9))
        labels = np.searchsorted(self._cumulative[:-1], rng.random(num_regions), side="right")
        regions = _voronoi(rng.random((num_regions, 2), np.float32), self._size)
        image = self._paint(rng, labels, regions)
        image += NOISE * rng.standard_normal(image.shape, np.float32)
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        mask = labels.astype(np.int64)[regions]
        return tv_tensors.Image(torch.from_numpy(pixels)), tv_tensors.Mask(torch.from_numpy(mask))

    def describe(self, index: int) -> str:
        """Return the scene's number, for messages."""
        return f"scene {index}"

    def _paint(self, rng: np.random.Generator, labels: npt.NDArray[np.int64], regions: npt.NDArray[np.intp]) -> Floats:
        """The scene without noise, (3, H, W): per region first, then one look-up per pixel."""
        num_regions = len(labels)
        normal = rng.standard_normal((5, num_regions), np.float32)
        phase = 2 * np.pi * rng.random((2, num_regions), np.float32)
        angle = self._angles[labels] + ANGLE_JITTER * normal[0]
        cycles = 2 * np.pi / (self._wavelengths[labels] * np.exp(WAVELENGTH_JITTER * normal[1]))
        a, b, c, bend, bias, gain = self._patterns[labels].T
        colours = self._colours[labels] + COLOUR_JITTER * normal[2:].T[:, None, :]

        height, width = self._size
        rows = np.arange(height, dtype=np.float32)[:, None]
        columns = np.arange(width, dtype=np.float32)
        along, across = (cycles * np.cos(angle))[regions], (cycles * np.sin(angle))[regions]
        u = along * columns + across * rows + phase[0][regions]
        sin_v = np.sin(along * rows - across * columns + phase[1][regions])
        sin_u = np.sin(u)
        value = a[regions] * np.sin(u + bend[regions] * sin_v) + (b[regions] + c[regions] * sin_u) * sin_v
        value = np.clip(gain[regions] * (value + bias[regions]), -1, 1)
        middle = (colours[:, 0] + colours[:, 1]).T / 2
        swing = (colours[:, 1] - colours[:, 0]).T / 2
        painted: Floats = middle[:, regions] + swing[:, regions] * value
        return painted


def _voronoi(sites: Floats, size: tuple[int, int]) -> npt.NDArray[np.intp]:
    """Index of the nearest site for each pixel, (H, W); sites (R, 2) are (row, column) in 0..1."""
    height, width = size
    rows = (np.arange(height, dtype=np.float32) + 0.5 - height * sites[:, :1]) ** 2
    columns = (np.arange(width, dtype=np.float32) + 0.5 - width * sites[:, 1:]) ** 2
    nearest = np.zeros(size, np.intp)
    distance = rows[0][:, None] + columns[0]
    for site in range(1, len(sites)):
        other = rows[site][:, None] + columns[site]
        nearest[other < distance] = site
        np.minimum(distance, other, out=distance)
    return nearest
