"""The charts: sound for plotly.js, the same numbers as the comparison, and the pictures that stand for them."""

from __future__ import annotations

import html
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from safetensors.numpy import load_file, save_file

from essnet.report import Comparison, load_comparison
from essnet.report.page.chart import Absent, Chart
from essnet.report.page.cost_chart import cost_chart
from essnet.report.page.curve_chart import curve_chart
from essnet.report.page.embedding_chart import best_embeddings, principal_axes
from essnet.report.page.figures import FIGURES
from essnet.report.page.heat_map import heat_map
from essnet.report.page.importance_chart import importance_chart
from essnet.report.page.joint_chart import joint_chart
from essnet.report.page.sections import sweep_part
from essnet.report.page.static_picture import static_picture
from essnet.report.pareto import MEMORY_MIB
from essnet.sweep.folder import STOPPED
from tests.report.full_sweep import BEST, make_full_sweep
from tests.report.sweep_folders import add_trial, make_sweep_folder


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return load_comparison(make_full_sweep(tmp_path_factory.mktemp("runs") / "study"))


def chart(found: Chart | Absent) -> Chart:
    assert isinstance(found, Chart), found
    return found


def test_plotly_knows_every_word_of_every_chart(comparison: Comparison) -> None:
    charts = sweep_part(comparison).charts
    assert len(charts) == 7
    for one in charts:
        go.Figure(data=one.traces, layout=one.layout)  # raises at what it does not know
        json.dumps([one.traces, one.layout], allow_nan=False)
        assert one.alt
        assert one.note


@pytest.mark.parametrize("how_far", [0.5, 9.0])
def test_the_view_of_embeddings_is_that_of_the_classes(tmp_path: Path, how_far: float) -> None:
    folder = make_full_sweep(tmp_path / "study")
    path = folder.trial(BEST) / "evaluation" / "embeddings.safetensors"
    arrays = load_file(path)
    arrays["pixel_embeddings"] = how_far * arrays["class_embeddings"][arrays["pixel_classes"]]
    save_file(arrays, path)
    found = chart(best_embeddings(load_comparison(folder)))
    _, classes = found.traces
    for name in ("x", "y"):
        low, high = found.layout[f"{name}axis"]["range"]
        assert low < min(classes[name]) < max(classes[name]) < high
        assert high - low == pytest.approx(1.24 * (max(classes[name]) - min(classes[name])), rel=1e-3)
    assert ("lie further out" in found.note) == (how_far > 1)


def test_the_pictures_are_svg_with_the_text_in_it(comparison: Comparison) -> None:
    for one in sweep_part(comparison).charts:
        picture = static_picture(one)
        root = ElementTree.fromstring(picture)
        texts = {text.strip() for node in root.iter() if node.tag.endswith("text") for text in node.itertext()}
        title = one.layout["xaxis"]["title"]["text"]
        assert not title or html.unescape(title) in texts, one.name
        assert static_picture(one) == picture  # of the same chart the same bytes


def test_the_map_has_values_and_differences_and_the_baseline_as_its_zero(comparison: Comparison) -> None:
    (trace,) = chart(heat_map(comparison)).traces
    assert trace["x"] == ["d = 4", "d = 12", "d = 32"]
    assert trace["y"] == ["knn, k = 1", "knn, k = 3", "knn, k = 7", "knn, k = 15"]
    assert trace["zmin"] == -trace["zmax"]
    for one in comparison.configurations:
        if one.arm == "knn":
            place = trace["y"].index(f"knn, k = {one.first.num_neighbours}")
            column = trace["x"].index(f"d = {one.first.embedding_dim}")
            assert one.value is not None
            assert one.difference is not None
            assert trace["z"][place][column] == one.difference.mean
            assert trace["text"][place][column] == f"{one.value.mean:.3f}<br>{one.difference.mean:+.3f}"
            assert trace["customdata"][place][column] == one.trial_id


def test_what_was_stopped_is_in_no_map_cost_line_or_band(comparison: Comparison) -> None:
    maps = chart(heat_map(comparison)).traces[0]["customdata"]
    costs = [name for trace in chart(cost_chart(comparison, MEMORY_MIB)).traces for name in trace.get("customdata", [])]
    stopped = [trial.trial_id for trial in comparison.trials if trial.state == STOPPED]
    assert stopped == ["017-exact"]
    assert "017-exact" not in [name for row in maps for name in row] + costs
    lines = [trace for trace in chart(curve_chart(comparison)).traces if trace.get("customdata", [""])[0] in stopped]
    assert [line["line"]["dash"] for line in lines] == ["dot"]
    assert "stopped early" in chart(curve_chart(comparison)).note


def test_several_sweeps_stand_against_their_own_baselines(comparison: Comparison, tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "other", num_trials=2)
    add_trial(folder, 0, "full", {20: {"val/miou": 0.9, MEMORY_MIB: 8.0}})
    add_trial(folder, 1, "exact", {20: {"val/miou": 0.7, MEMORY_MIB: 2.0}}, objective={"name": "embedding_softmax"})
    one = chart(joint_chart([comparison, load_comparison(folder)], MEMORY_MIB))
    study, other, baseline = one.traces
    assert (other["x"], other["y"], other["customdata"]) == ([0.25], pytest.approx([-0.2]), ["001-exact"])
    assert (other["meta"], len(study["x"])) == ("other", 12)
    assert (baseline["x"], baseline["y"]) == ([1], [0])
    go.Figure(data=one.traces, layout=one.layout)
    assert static_picture(one)


def test_curves_are_means_in_bands(tmp_path: Path) -> None:
    folder = make_sweep_folder(tmp_path / "study", num_trials=3)
    for index, values in enumerate([(0.1, 0.4), (0.3, 0.6)]):
        curve = {10 * (place + 1): {"val/miou": value} for place, value in enumerate(values)}
        add_trial(folder, index, "full", curve, seed=index, overrides={"seed": index})
    low, high, line = chart(curve_chart(load_comparison(folder))).traces
    assert (low["y"], high["y"]) == ([0.1, 0.4], [0.3, 0.6])
    assert (line["x"], line["y"]) == ([10, 20], pytest.approx([0.2, 0.5]))


def test_importance_needs_enough_configurations(comparison: Comparison, tmp_path: Path) -> None:
    found = chart(importance_chart(comparison))
    assert "fANOVA" in found.note
    assert found.traces[0]["y"] == ["objective.embedding_dim", "objective.num_neighbours"]
    assert "exact has 0" in found.note
    folder = make_sweep_folder(tmp_path / "study")
    add_trial(folder, 0, "knn", {20: {"val/miou": 0.5}}, point={"objective.embedding_dim": 4})
    few = importance_chart(load_comparison(folder))
    assert few == Absent(
        "Too few to tell: an importance needs 10 configurations of an arm that went to their end; knn has 1."
    )


def test_an_empty_sweep_says_why_each_part_is_missing(tmp_path: Path) -> None:
    part = sweep_part(load_comparison(make_sweep_folder(tmp_path / "study", num_trials=2)))
    assert part.charts == []
    assert part.command is None
    charts = [one for section in part.figures for one in section.charts]
    reasons = [*charts, part.classes, part.pictures]
    assert len(charts) == len(FIGURES)
    assert all(isinstance(one, Absent) and one.reason for one in reasons)


def test_without_evaluations_those_parts_say_so(tmp_path: Path) -> None:
    folder = make_full_sweep(tmp_path / "study")
    (folder.trial("000-full") / "evaluation" / "evaluation.json").unlink()
    part = sweep_part(load_comparison(folder))
    assert part.classes == Absent("000-full left no record of what the best evaluation saw (evaluation/).")
    assert part.pictures == part.confusions == part.classes
    assert "embeddings" in [one.name for one in part.charts]


def test_a_damaged_evaluation_costs_its_own_parts_only(tmp_path: Path) -> None:
    folder = make_full_sweep(tmp_path / "study")
    path = folder.trial("000-full") / "evaluation" / "evaluation.json"
    path.write_text("{")
    part = sweep_part(load_comparison(folder))
    assert part.classes == Absent(f"{path}: damaged; expected JSON")
    assert {"heat-map", "embeddings"} <= {one.name for one in part.charts}


def test_principal_axes_keep_what_varies_most() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(200, 5)) * [0.1, 9.0, 0.1, 3.0, 0.1]
    project, shares = principal_axes(points)
    assert sum(shares) > 0.99
    assert shares[0] > shares[1]
    projected = project(points)
    assert np.abs(np.corrcoef(projected[:, 0], points[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(projected[:, 1], points[:, 3])[0, 1]) > 0.99
    assert projected.mean(axis=0) == pytest.approx(0, abs=1e-9)
    # As scikit-learn has it, up to signs.
    from sklearn.decomposition import PCA

    assert np.abs(projected) == pytest.approx(np.abs(PCA(2).fit_transform(points)))
