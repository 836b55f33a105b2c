"""What trials leave of their best evaluations: read, compared class by class, and what is damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import pytest
import torch
from safetensors.torch import save_file

from essnet.config import InputError
from essnet.report.class_changes import class_changes, group_changes
from essnet.report.evaluations import TrialEvaluation, mean_ious, read_evaluation
from tests.report.full_sweep import BEST, make_full_sweep


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    return make_full_sweep(tmp_path / "study").trial(BEST)


def read(path: Path) -> TrialEvaluation:
    found = read_evaluation(path)
    assert found is not None
    return found


def change(trial: Path, **values: object) -> None:
    path = trial / "evaluation" / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def one_class(class_id: int, iou: float | None, group: str | None = None) -> dict[str, object]:
    return {"id": class_id, "name": f"c{class_id}", "iou": iou, "accuracy": 0.5, "pixels": 9, "predicted": 9,
            "group": group}  # fmt: skip


def test_a_trial_without_one(tmp_path: Path) -> None:
    assert read_evaluation(tmp_path) is None


def test_all_of_it(trial: Path) -> None:
    found = read(trial)
    assert (found.trial_id, found.step, len(found.classes), len(found.pictures)) == (BEST, 100, 6, 2)
    assert found.confusions[0] == (1, 2, 85)
    arrays = found.embeddings()
    assert arrays is not None
    assert {name: array.shape for name, array in arrays.items()} == {
        "class_embeddings": (8, 12), "pixel_embeddings": (400, 12), "pixel_classes": (400,),
    }  # fmt: skip
    (trial / "evaluation" / "embeddings.safetensors").unlink()
    assert read(trial).embeddings() is None


_NO_CLASS = '{"step": 1, "pictures": [], "classes": [], "confusions": [%s]}'


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"step": 1}',
        '{"step": 1, "classes": [7], "confusions": []}',
        _NO_CLASS % '{"truth": 0, "predicted": 1, "pixels": "many"}',
        _NO_CLASS % '{"truth": 0, "predicted": [], "pixels": 1}',
        _NO_CLASS % '{"truth": 0, "predicted": 1, "pixels": Infinity}',
        _NO_CLASS % "7",
    ],
)
def test_what_is_damaged_is_named(trial: Path, content: str) -> None:
    path = trial / "evaluation" / "evaluation.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: damaged"):
        read_evaluation(trial)


def test_damaged_embeddings_are_named(trial: Path) -> None:
    path = trial / "evaluation" / "embeddings.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: damaged"):
        read(trial).embeddings()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"class_embeddings": torch.zeros(3, 4)}, "damaged; found class_embeddings (3, 4), pixel_embeddings ()"),
        (
            {
                "class_embeddings": torch.zeros(3, 4),
                "pixel_embeddings": torch.zeros(2, 5),
                "pixel_classes": torch.zeros(2),
            },
            "damaged; found class_embeddings (3, 4), pixel_embeddings (2, 5)",
        ),
        (
            {
                "class_embeddings": torch.full((3, 4), float("nan")),
                "pixel_embeddings": torch.zeros(2, 4),
                "pixel_classes": torch.zeros(2),
            },
            "has embeddings that are no numbers",
        ),
    ],
)
def test_embeddings_that_cannot_be_laid_out(trial: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    path = trial / "evaluation" / "embeddings.safetensors"
    save_file(tensors, path)
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
        read(trial).embeddings()


def test_pictures_are_looked_for_beside_the_file_only(trial: Path) -> None:
    path = "../../../../etc/passwd"
    change(trial, pictures=[{"name": "x", "image": path, "truth": path, "prediction": path}])
    (picture,) = read(trial).pictures
    assert picture.image == trial / "evaluation" / "passwd"


def test_ious_are_means_over_the_trials_that_have_them_all(trial: Path) -> None:
    change(trial, classes=[one_class(0, 0.5), one_class(1, None), one_class(2, 0.2)])
    first = read(trial)
    change(trial, classes=[one_class(0, 0.7), one_class(1, 0.9)])
    assert mean_ious([first, read(trial)]) == pytest.approx({0: 0.6})
    assert mean_ious([]) == {}


def test_changes_from_the_largest_gain_to_the_largest_loss(trial: Path) -> None:
    change(trial, classes=[one_class(0, 0.5, "rare"), one_class(1, 0.6, "rare"), one_class(2, 0.7, "common")])
    baseline = read(trial)
    change(trial, classes=[one_class(0, 0.4, "rare"), one_class(1, 0.9, "rare"), one_class(2, None), one_class(3, 1.0)])
    changes = class_changes([read(trial)], [baseline])
    assert [(one.id, round(one.change, 6)) for one in changes] == [(1, 0.3), (0, -0.1)]
    (rare,) = group_changes(changes)
    assert (rare.group, rare.num_classes, rare.gaining, rare.losing) == ("rare", 2, 1, 1)
    assert rare.of_best - rare.of_baseline == pytest.approx(fmean([0.3, -0.1]))


def test_without_groups_there_are_none(trial: Path) -> None:
    change(trial, classes=[one_class(0, 0.5)])
    assert group_changes(class_changes([read(trial)], [read(trial)])) == []
