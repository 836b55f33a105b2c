from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from essnet.config import InputError
from essnet.report import answer, comparison_csv, comparison_json, comparison_table, load_comparison
from essnet.report.figure import save_figure
from essnet.sweep.folder import FAILED, RUNNING, STOPPED, SweepFolder
from tests.report.sweep_folders import add_trial, make_sweep_folder


def metrics(miou: float, step_ms: float = 100.0, memory: float = 40.0) -> dict[str, float]:
    return {"val/miou": miou, "perf/step_ms": step_ms, "perf/loss_memory_mib": memory}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder = make_sweep_folder(tmp_path / "study")
    add_trial(folder, 0, "full", {10: metrics(0.5), 20: metrics(0.8)})
    knn = {"name": "knn_softmax", "embedding_dim": 8, "num_neighbours": 3}
    add_trial(
        folder, 1, "knn", {10: metrics(0.75, 300, 5), 20: metrics(0.7, 200, 10)},
        objective=knn, overrides={"objective.embedding_dim": 8},
    )  # fmt: skip
    exact = {"name": "embedding_softmax", "embedding_dim": 16, "similarity": "dot"}
    add_trial(folder, 2, "exact", {10: metrics(0.3, 50, 20), 20: metrics(0.77, 50, 20)}, objective=exact)
    return folder


def rendered(folder: SweepFolder, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_table([load_comparison(folder)]))
    return console.export_text()


def test_best_evaluation_last_perf_and_difference(folder: SweepFolder) -> None:
    comparison = load_comparison(folder)
    full, knn, exact = comparison.configurations
    assert (comparison.baseline, comparison.best) == (full, exact)
    assert knn.metrics == {"val/miou": 0.75, "perf/step_ms": 200, "perf/loss_memory_mib": 10}
    assert knn.difference is not None
    assert knn.difference.mean == pytest.approx(-0.05)
    assert comparison.ratio(exact, "perf/step_ms") == 0.5
    full_trial, knn_trial, exact_trial = comparison.trials
    assert (full_trial.embedding_dim, full_trial.num_neighbours) == (None, None)
    assert (knn_trial.embedding_dim, knn_trial.num_neighbours) == (8, 3)
    assert (exact_trial.embedding_dim, exact_trial.num_neighbours) == (16, None)
    assert [one.arm for one in comparison.ranked()] == ["full", "exact", "knn"]


def test_the_answer_names_configuration_difference_and_price(folder: SweepFolder) -> None:
    text = answer(load_comparison(folder))
    assert text == (
        "Best so far: exact over embeddings with d = 16, similarity dot: 0.770 mIoU against 0.800 for the full softmax "
        "(-0.030), 2.0 x less output memory, 2.0 x faster steps; one seed each: no winner is named; "
        "replicate.seeds=[0,1,2] would tell."
    )


def test_a_smaller_value_wins_in_mode_min(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", metric="val/loss", mode="min")
    for index, (arm, values) in enumerate([("full", (3.0, 2.0)), ("a", (1.0, 1.5)), ("b", (4.0, 1.2))]):
        add_trial(folder, index, arm, {10 * i + 10: {"val/loss": value} for i, value in enumerate(values)})
    comparison = load_comparison(folder)
    assert comparison.best is not None
    assert (comparison.best.arm, comparison.best.metrics["val/loss"]) == ("a", 1.0)
    assert [one.arm for one in comparison.ranked()] == ["a", "b", "full"]


def test_the_table_fits_a_terminal(folder: SweepFolder) -> None:
    text = rendered(folder)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    row = next(line for line in text.splitlines() if "001-knn" in line)
    assert row.split() == ["001-knn", "8", "3", "0.750", "-0.050", "200", "2.00", "10.0", "0.25"]
    assert "after 20 steps" in text


def test_states_are_shown_where_not_all_trials_are_complete(folder: SweepFolder) -> None:
    add_trial(folder, 1, "knn", {10: metrics(0.75)}, state=STOPPED, objective={"name": "knn_softmax"})
    text = rendered(folder, 120)
    assert "stopped, step 10" in text
    assert "completed, step 20" in text


def test_an_unfinished_or_failed_sweep_says_so(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=4)
    add_trial(folder, 0, "full", {}, state=RUNNING)
    assert answer(load_comparison(folder)) == "No answer yet: 0 of 4 trials are done."
    add_trial(folder, 0, "full", {20: metrics(0.8)})
    add_trial(folder, 1, "knn", {10: metrics(0.7)}, objective={"name": "knn_softmax"})
    add_trial(folder, 2, "wild", {}, state=FAILED, error="step 3: the loss is nan")
    text = answer(load_comparison(folder))
    assert text.startswith("Best so far: k-nearest with d = 12, k = 7")
    assert "2 of 4 trials are done, 1 failed." in text
    assert "failed" in rendered(folder, 120)


def test_csv_holds_every_trial_and_number(folder: SweepFolder) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv([load_comparison(folder)]))))
    assert [row["trial_id"] for row in rows] == ["000-full", "002-exact", "001-knn"]
    assert float(rows[2]["val/miou"]) == 0.75
    assert rows[2]["objective.embedding_dim"] == "8"
    assert rows[0]["objective.embedding_dim"] == ""
    assert float(rows[1]["difference"]) == pytest.approx(-0.03)


def test_json_keys_that_scripts_rely_on(folder: SweepFolder) -> None:
    result = comparison_json([load_comparison(folder)])
    assert set(result) >= {"sweep", "directory", "tracking_uri", "parent_run_id", "baseline", "best", "trials"}
    keys = {"trial_id", "arm", "overrides", "seed", "state", "steps", "metrics", "run_id"}
    assert all(set(trial) >= keys for trial in result["trials"])
    assert (result["baseline"], result["best"]) == ("000-full", "002-exact")
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_figure_is_drawn(folder: SweepFolder, tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    save_figure(load_comparison(folder), path)
    with Image.open(path) as image:
        assert image.width > 1000
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=2**24) or []}
    assert (0, 114, 178) in colours  # the first arm's marker
    assert (213, 94, 0) in colours  # the second's


def test_a_folder_that_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: is no sweep's folder")):
        load_comparison(SweepFolder(tmp_path))


def test_whatever_was_searched_is_in_table_and_answer(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", {20: metrics(0.8)})
    point = {"optimizer.lr": 0.00123456, "objective.embedding_dim": 12}
    add_trial(folder, 1, "exact", {20: metrics(0.7)}, objective={"name": "embedding_softmax"}, point=point)
    text = rendered(folder, 120)
    assert "lr" in text
    assert "0.001235" in text
    sentence = answer(load_comparison(folder))
    assert "d = 12, similarity l2, lr 0.00123456" in sentence


def test_a_baseline_that_failed_leaves_the_best_other(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=2)
    add_trial(folder, 0, "full", {}, state=FAILED, error="out of memory")
    add_trial(folder, 1, "exact", {20: metrics(0.7)}, objective={"name": "embedding_softmax"})
    assert answer(load_comparison(folder)).startswith(
        "Without a result of the baseline, the best is exact over embeddings with d = 12, similarity l2: 0.700 mIoU."
    )
