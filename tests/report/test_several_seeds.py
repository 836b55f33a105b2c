"""Answer, table, CSV, JSON and picture of a sweep with replicates."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from essnet.report import answer, comparison_csv, comparison_json, comparison_table, legend, load_comparison
from essnet.report.figure import save_figure
from essnet.sweep.folder import FAILED, RUNNING, SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder

BASELINE = (0.80, 0.82, 0.81)
NEAR = (0.79, 0.825, 0.80)  # below the baseline by 0.010, -0.005, 0.010
FAR = (0.70, 0.72, 0.71)


def add_replicated(
    folder: SweepFolder, first: int, arm: str, values: tuple[float, ...], *, dim: int = 12, memory: float = 10
) -> None:
    """One trial of the search with seed 0, and replicates of it with seeds 1, 2 ..."""
    objective = {"name": "full_softmax" if arm == "full" else "embedding_softmax", "embedding_dim": dim}
    point = {} if arm == "full" else {"objective.embedding_dim": dim}
    for seed, value in enumerate(values):
        metrics = {"val/miou": value, "perf/step_ms": 100.0 + seed, "perf/loss_memory_mib": memory}
        add_trial(
            folder, first + seed, arm, {20: metrics}, objective=objective, point=point, seed=seed,
            overrides={**point, "seed": seed} if seed else point, replicates=f"{first:03d}-{arm}" if seed else None,
        )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder = make_sweep_folder(tmp_path / "study", num_trials=7)
    add_replicated(folder, 0, "full", BASELINE, memory=40)
    add_replicated(folder, 3, "exact", NEAR)
    add_replicated(folder, 6, "exact", (0.83,), dim=4)  # better than all, once
    return folder


def rendered(folder: SweepFolder, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_table([load_comparison(folder)]))
    return console.export_text()


def test_the_answer_has_means_intervals_and_says_that_it_is_noise(folder: SweepFolder) -> None:
    # t of 2 degrees is 4.303; the standard deviations are 0.01, 0.01803 and, of the differences, 0.00866
    assert answer(load_comparison(folder)) == (
        "exact over embeddings with d = 12, similarity l2: 0.805 ± 0.045 mIoU against 0.810 ± 0.025 "
        "for the full softmax (-0.005 ± 0.022), 4.0 x less output memory, steps as fast; "
        "not distinguishable at 3 seeds."
    )


def test_a_difference_that_is_more_than_noise(folder: SweepFolder) -> None:
    add_replicated(folder, 3, "exact", FAR)
    text = answer(load_comparison(folder))
    assert "(-0.100 ± 0.000)" in text
    assert text.endswith("worse by more than chance at 3 seeds.")


def test_one_common_seed_is_no_interval(folder: SweepFolder) -> None:
    for index in (1, 2):
        add_trial(folder, index, "full", {}, state=FAILED, error="x", seed=index, overrides={"seed": index})
    text = answer(load_comparison(folder))
    assert text.startswith("Best so far: exact")
    assert "0.805 ± 0.045 (3 seeds) mIoU against 0.800 (1 seed) for the full softmax (-0.010)" in text
    assert "; one seed in common: no winner is named" in text
    assert "Of the 3 trials of full, 2 failed or stopped early and are not in its mean." in text


def test_no_common_seed(folder: SweepFolder) -> None:
    for index in range(3):
        metrics = {"val/miou": 0.8}
        add_trial(folder, index, "full", {20: metrics}, seed=10 + index, overrides={"seed": 10 + index})
    text = answer(load_comparison(folder))
    assert text.startswith("Best so far: exact")
    assert "; no seed in common, so that the difference may be that of the seeds: no winner is named" in text


def test_the_table_has_a_row_a_configuration_in_80_columns(folder: SweepFolder) -> None:
    text = rendered(folder)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = [line.split() for line in text.splitlines()[3:]]
    assert rows == [
        ["006-exact", "4", "-", "1", "0.830", "+0.030", "0.99", "0.25"],
        ["000-full", "-", "-", "3", "0.810", "±", "0.025", "+0.000", "1.00", "1.00"],
        ["003-exact", "12", "-", "3", "0.805", "±", "0.045", "-0.005", "±", "0.022", "1.00", "0.25"],
    ]
    assert max(map(len, legend([load_comparison(folder)]).splitlines())) <= 80


def test_a_wide_table_cuts_names_and_no_figures(folder: SweepFolder) -> None:
    add_replicated(folder, 7, "embeddings_with_everything", FAR)
    add_trial(folder, 10, "full", {10: {"val/miou": 0.1}}, state=RUNNING, seed=9, overrides={"seed": 9})
    text = rendered(folder)
    assert max(map(len, text.splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("007-emb"))
    assert "…" in row
    assert row.split()[1:] == ["12", "-", "3", "0.710", "±", "0.025", "-0.100", "±", "0.000", "1.00", "0.25"]
    assert next(line for line in text.splitlines() if line.startswith("000-full")).rstrip().endswith("1 running")


def test_csv_has_a_line_a_configuration(folder: SweepFolder) -> None:
    lines = list(csv.DictReader(io.StringIO(comparison_csv([load_comparison(folder)]))))
    assert [line["trial_ids"] for line in lines] == [
        "006-exact", "000-full 001-full 002-full", "003-exact 004-exact 005-exact",
    ]  # fmt: skip
    near = lines[2]
    assert (near["seeds"], near["states"]) == ("0 1 2", "COMPLETED COMPLETED COMPLETED")
    assert "seed" not in near
    assert near["objective.embedding_dim"] == "12"
    assert float(near["val/miou"]) == pytest.approx(0.805)
    assert float(near["half_width"]) == pytest.approx(4.302653 * 0.0180278 / 3**0.5, rel=1e-4)
    assert float(near["difference"]) == pytest.approx(-0.005)
    assert lines[0]["half_width"] == ""


def test_json_has_configurations_beside_the_trials(folder: SweepFolder) -> None:
    result = comparison_json([load_comparison(folder)])
    assert (result["baseline"], result["best"], len(result["trials"])) == ("000-full", "003-exact", 7)
    assert result["trials"][4]["replicates"] == "003-exact"
    near = result["configurations"][1]
    assert near.pop("metrics") == pytest.approx({"val/miou": 0.805, "perf/step_ms": 101, "perf/loss_memory_mib": 10})
    widths = [near.pop(key) for key in ("half_width", "difference_half_width")]
    assert widths == pytest.approx([0.044783, 0.021513], rel=1e-3)
    assert [near.pop(key) for key in ("mean", "difference")] == pytest.approx([0.805, -0.005])
    assert near == {
        "arm": "exact", "overrides": {"objective.embedding_dim": 12}, "seeds": [0, 1, 2], "steps": 20,
        "difference_step": None,
        "trials": ["003-exact", "004-exact", "005-exact"],
    }  # fmt: skip
    assert result["configurations"][2]["half_width"] is None
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_failure_has_its_kind_in_json_and_text(folder: SweepFolder) -> None:
    add_trial(folder, 5, "exact", {}, state=FAILED, error="8 GiB wanted", failure="out_of_memory", seed=2)
    comparison = load_comparison(folder)
    assert comparison_json([comparison])["trials"][5]["failure"] == "out_of_memory"
    assert comparison.trials[5].failure_line == "failed: 005-exact: out_of_memory: 8 GiB wanted"


def test_the_picture_has_bars(folder: SweepFolder, tmp_path: Path) -> None:
    """Of the baseline's bar: a column of black pixels far longer than its star."""
    path = tmp_path / "figure.png"
    save_figure(load_comparison(folder), path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    black = (pixels[:, pixels.shape[1] * 95 // 100 :] < 60).all(axis=2)
    assert black.sum(axis=0).max() > 80
