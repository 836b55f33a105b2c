"""What a trial's best evaluation saw, as far as the trial left it behind: see `essnet.training.evaluation_folder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from essnet.atomic_files import read_json
from essnet.config.errors import InputError
from essnet.report.configurations import Configuration
from essnet.sweep.folder import SweepFolder

NO_EVALUATION = "{} left no record of what the best evaluation saw (evaluation/)."
"""What is said of a trial without one."""

_TENSORS = ("class_embeddings", "pixel_embeddings", "pixel_classes")

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ClassResult:
    """A class in truth or prediction; `iou` is None where it is undefined."""

    id: int
    name: str
    iou: float | None
    pixels: int
    group: str | None
    colour: tuple[int, int, int] | None = None
    """Red, green and blue in the pictures; None where the trial did not note it."""


@dataclass(frozen=True)
class Picture:
    """An image of the split, with truth and prediction as colours."""

    name: str
    image: Path
    truth: Path
    prediction: Path


@dataclass(frozen=True)
class TrialEvaluation:
    """One trial's best evaluation."""

    trial_id: str
    step: int
    classes: Mapping[int, ClassResult]
    confusions: Sequence[tuple[int, int, int]]
    """(true class, predicted class, pixels), the largest first."""
    pictures: Sequence[Picture]
    folder: Path

    def embeddings(self) -> Arrays | None:
        """Return `class_embeddings` (C, D), `pixel_embeddings` (N, D), `pixel_classes` (N,); None without an embedding.

        Raises
        ------
        InputError
            If the file is damaged, or has what is no number.
        """
        path = self.folder / "embeddings.safetensors"
        if not path.is_file():
            return None
        try:
            arrays = load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: damaged; {error}") from None
        shapes = [arrays[name].shape if name in arrays else () for name in _TENSORS]
        (classes, pixels, truth) = shapes
        if len(classes) != 2 or pixels[1:] != classes[1:] or truth != pixels[:1]:
            found = ", ".join(f"{name} {shape}" for name, shape in zip(_TENSORS, shapes, strict=True))
            raise InputError(f"{path}: damaged; found {found}, expected (C, D), (N, D) and (N,)")
        if not all(np.isfinite(arrays[name]).all() for name in _TENSORS):
            raise InputError(f"{path}: has embeddings that are no numbers: the training had come apart")
        return arrays


def evaluations_of(one: Configuration, directory: Path) -> dict[int, TrialEvaluation]:
    """Return seed -> what the trial left behind, of the trials of a configuration that did; `directory` is the sweep's.

    Raises
    ------
    InputError
        If what one left is damaged.
    """
    folder = SweepFolder(directory)
    found = {trial.seed: read_evaluation(folder.trial(trial.trial_id)) for trial in one.counted}
    return {seed: evaluation for seed, evaluation in found.items() if evaluation is not None}


def read_evaluation(trial_folder: Path) -> TrialEvaluation | None:
    """Read a trial's `evaluation/`; None where there is none.

    Raises
    ------
    InputError
        If it is damaged.
    """
    folder = trial_folder / "evaluation"
    path = folder / "evaluation.json"
    content = read_json(path)
    if content == {}:
        return None
    try:
        return TrialEvaluation(
            trial_id=trial_folder.name,
            step=int(content["step"]),
            classes={one.id: one for one in map(_class, content["classes"])},
            confusions=[
                (int(one["truth"]), int(one["predicted"]), int(one["pixels"])) for one in content["confusions"]
            ],
            pictures=[_picture(one, folder) for one in content["pictures"]],
            folder=folder,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: damaged; {type(error).__name__} {error}") from None


def _class(values: Mapping[str, Any]) -> ClassResult:
    colour = None
    if "colour" in values:
        red, green, blue = (int(part) for part in values["colour"])
        colour = red, green, blue
    iou, group = values["iou"], values.get("group")
    return ClassResult(
        id=int(values["id"]),
        name=str(values["name"]),
        iou=None if iou is None else float(iou),
        pixels=int(values["pixels"]),
        group=None if group is None else str(group),
        colour=colour,
    )


def _picture(values: Mapping[str, str], folder: Path) -> Picture:
    files = [folder / Path(values[key]).name for key in ("image", "truth", "prediction")]  # beside it, nowhere else
    return Picture(str(values["name"]), *files)


def class_name(classes: Mapping[int, ClassResult], class_id: int) -> str:
    """Return the name of a class, or its number where neither truth nor prediction had it."""
    return classes[class_id].name if class_id in classes else f"class {class_id}"


def mean_ious(evaluations: Sequence[TrialEvaluation]) -> dict[int, float]:
    """Return class id -> mean IoU over the trials, for classes whose IoU is defined in all of them."""
    if not evaluations:
        return {}
    found: dict[int, float] = {}
    for class_id in evaluations[0].classes:
        ious = [one.classes[class_id].iou if class_id in one.classes else None for one in evaluations]
        values = [iou for iou in ious if iou is not None]
        if len(values) == len(evaluations):
            found[class_id] = float(np.mean(values))
    return found
