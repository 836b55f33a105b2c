from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from essnet.report import load_comparison, publish
from essnet.sweep.folder import SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder


def names(paths: list[Path]) -> list[str]:
    assert all(path.stat().st_size > 0 for path in paths)
    return [path.name for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", {20: {"val/miou": 0.8}})
    add_trial(folder, 1, "knn", {20: {"val/miou": 0.7}}, objective={"name": "knn_softmax"})
    return folder


def test_all_files_are_written(folder: SweepFolder) -> None:
    found = publish.write_files(load_comparison(folder), folder.path)
    assert names(found) == ["comparison.json", "comparison.csv", "comparison.html", "comparison.png"]
    answer = json.loads(found[0].read_text())["answer"]
    assert answer.startswith("Best so far: k-nearest")
    assert answer in found[2].read_text(encoding="utf-8")


def test_without_a_result_there_is_a_page_that_says_so(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    found = publish.write_files(load_comparison(folder), folder.path)
    assert names(found) == ["comparison.json", "comparison.csv", "comparison.html"]
    assert "No answer yet: 0 of 2 trials are done." in found[2].read_text(encoding="utf-8")


def test_a_page_that_cannot_be_drawn_leaves_the_other_files(
    folder: SweepFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.path / "comparison.html").mkdir()  # in the way of the page
    with caplog.at_level(logging.WARNING):
        found = publish.write_files(load_comparison(folder), folder.path)
    assert names(found) == ["comparison.json", "comparison.csv", "comparison.png"]
    assert "comparison.html is not written: IsADirectoryError" in caplog.text
