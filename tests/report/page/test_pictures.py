from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from essnet.report.evaluations import TrialEvaluation, read_evaluation
from essnet.report.page import pictures as module
from essnet.report.page.pictures import pictures_of
from tests.report.full_sweep import BEST, CLASS_NAMES, make_full_sweep


@pytest.fixture
def trials(tmp_path: Path) -> tuple[Path, Path]:
    folder = make_full_sweep(tmp_path / "study")
    return folder.trial(BEST), folder.trial("000-full")


def read(path: Path) -> TrialEvaluation:
    found = read_evaluation(path)
    assert found is not None
    return found


def change_classes(trial: Path, **of_each: object) -> None:
    path = trial / "evaluation" / "evaluation.json"
    content = json.loads(path.read_text())
    content["classes"] = [{**one, **of_each} for one in content["classes"]]
    path.write_text(json.dumps(content))


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


def test_the_legend_has_the_classes_that_are_shown_the_largest_first(trials: tuple[Path, Path]) -> None:
    found = pictures_of(*map(read, trials))
    shown = [pixels(one) for row in found.rows for one in (row.truth, row.of_baseline, row.of_best)]
    rows, counts = np.unique(np.concatenate([one.reshape(-1, 3) for one in shown]), axis=0, return_counts=True)
    count_of = {"#{:02x}{:02x}{:02x}".format(*row): count for row, count in zip(rows, counts, strict=True)}
    assert [count_of.pop(entry.colour) for entry in found.legend] == sorted(counts, reverse=True)
    assert not count_of
    assert {entry.name for entry in found.legend} == set(CLASS_NAMES)
    colours = {one.name: one.colour for one in read(trials[0]).classes.values()}
    assert all("#{:02x}{:02x}{:02x}".format(*colours[entry.name] or ()) == entry.colour for entry in found.legend)


def test_a_class_that_is_in_no_picture_is_not_in_the_legend(trials: tuple[Path, Path]) -> None:
    for trial in trials:
        for path in (trial / "evaluation").glob("*.png"):
            Image.new("RGB", (30, 20), read(trial).classes[4].colour).save(path)
    found = pictures_of(*map(read, trials))
    assert [entry.name for entry in found.legend] == [CLASS_NAMES[4]]


def test_there_is_an_end_to_it(trials: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert pictures_of(*map(read, trials)).num_left_out == 0
    monkeypatch.setattr(module, "_MOST_ENTRIES", 4)
    found = pictures_of(*map(read, trials))
    assert (len(found.legend), found.num_left_out) == (4, 2)


def test_classes_of_one_colour_are_one_entry(trials: tuple[Path, Path]) -> None:
    for trial in trials:
        change_classes(trial, colour=[1, 2, 3])
        for path in (trial / "evaluation").glob("*.png"):
            Image.new("RGB", (30, 20), (1, 2, 3)).save(path)
    (entry,) = pictures_of(*map(read, trials)).legend
    assert entry.name == " or ".join(CLASS_NAMES)


def test_trials_that_noted_no_colours_have_pictures_without_a_legend(trials: tuple[Path, Path]) -> None:
    for trial in trials:
        path = trial / "evaluation" / "evaluation.json"
        content = json.loads(path.read_text())
        for one in content["classes"]:
            del one["colour"]
        path.write_text(json.dumps(content))
    found = pictures_of(*map(read, trials))
    assert (len(found.rows), found.legend) == (2, [])
