"""The `search` block: metrics and their directions, objectives, constraints, warm starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config.sweep import METRICS, SearchConfig, SweepConfig
from tests.config.sweep_files import FULL, HEAD, load, refusal


def search(tmp_path: Path, block: str, *arguments: str) -> SearchConfig:
    return load(tmp_path, f"{HEAD}arms:\n{FULL}search: {block}\n", *arguments).config.search


@pytest.mark.parametrize("metric", METRICS)
def test_the_mode_follows_the_metric(metric: str) -> None:
    config = SearchConfig.model_validate({"metric": metric})
    more_is_better = metric.startswith("val/") or metric == "perf/images_per_s"
    assert config.mode == ("max" if more_is_better else "min")
    assert config.directions == {metric: config.mode}
    assert SearchConfig.model_validate({"metric": metric, "mode": config.mode}) == config


def test_the_command_line_changes_metric_and_mode(tmp_path: Path) -> None:
    assert search(tmp_path, "{}", "search.metric=perf/peak_memory_mib").mode == "min"
    assert search(tmp_path, "{}").mode == "max"


def test_trials_are_ranked_by_the_first_objective(tmp_path: Path) -> None:
    config = search(tmp_path, "{objectives: [{metric: perf/step_ms}, {metric: val/miou, mode: max}]}")
    assert (config.metric, config.mode) == ("perf/step_ms", "min")
    assert config.directions == {"perf/step_ms": "min", "val/miou": "max"}


def test_where_each_metric_stands(tmp_path: Path) -> None:
    limit = "constraints: [{metric: perf/step_ms, at_most: 40}]"
    assert search(tmp_path, f"{{{limit}}}").metrics == {
        "metric": "val/miou",
        "constraints.0.metric": "perf/step_ms",
    }
    several = f"{{objectives: [{{metric: val/fw_iou}}, {{metric: val/miou}}], {limit}}}"
    assert search(tmp_path, several).metrics == {
        "objectives.0.metric": "val/fw_iou",
        "objectives.1.metric": "val/miou",
        "constraints.0.metric": "perf/step_ms",
    }


def test_what_a_sweep_keeps_of_itself_loads_again(tmp_path: Path) -> None:
    text = (
        "{algorithm: optuna, warm_start: [earlier], objectives: [{metric: val/miou}, {metric: perf/step_ms}], "
        "constraints: [{metric: val/miou, at_least: 0.5}]}"
    )
    config = load(tmp_path, f"{HEAD}arms:\n{FULL}search: {text}\n").config
    assert SweepConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            "{metric: val/loss}",
            "search.metric: found 'val/loss', which is another one for each objective; take val/miou",
        ),
        (
            "{constraints: [{metric: val/loss, at_most: 1}]}",
            "search.constraints.0.metric: found 'val/loss', which is another one for each objective; take val/miou",
        ),
        ("{metric: perf/step}", "search.metric: found 'perf/step'; did you mean perf/step_ms?"),
        ("{mode: min}", "search: mode: found 'min', but more val/miou is better; leave mode out"),
        (
            "{metric: perf/step_ms, mode: max}",
            "search: mode: found 'max', but less perf/step_ms is better; leave mode out",
        ),
        ("{mode: big}", "search.mode: found 'big'; one of 'max' or 'min'"),
        (
            "{objectives: [{metric: val/miou}, {metric: perf/step_ms, mode: max}]}",
            "search.objectives.1: mode: found 'max', but less perf/step_ms is better; leave mode out",
        ),
        ("{objectives: [{metric: miou}]}", "search.objectives.0.metric: found 'miou'; did you mean val/miou?"),
        ("{objectives: [{mode: max}]}", "search.objectives.0.metric: is missing"),
        ("{objectives: [val/miou]}", "search.objectives.0: found 'val/miou'; expected a block of keys"),
        (
            "{metric: val/miou, objectives: [{metric: perf/step_ms}, {metric: val/miou}]}",
            "search: metric: found 'val/miou', but trials are ranked by the first of objectives, perf/step_ms; "
            "leave metric out",
        ),
        (
            "{objectives: [{metric: val/miou}, {metric: val/miou}]}",
            "search: objectives: found val/miou, val/miou; expected each metric once",
        ),
        (
            "{constraints: [{metric: val/miou}]}",
            "search.constraints.0: expected one of at_most and at_least; for both write two constraints",
        ),
        (
            "{constraints: [{metric: val/miou, at_least: 0.5, at_most: 0.6}]}",
            "search.constraints.0: expected one of at_most and at_least; for both write two constraints",
        ),
        (
            "{warm_start: [a]}",
            "search: warm_start: grid does not learn; leave it out, or take algorithm: optuna",
        ),
        (
            "{warm_start: [a], algorithm: random, num_trials: 3}",
            "search: warm_start: random does not learn; leave it out, or take algorithm: optuna",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, block: str, message: str) -> None:
    assert refusal(tmp_path, f"{HEAD}arms:\n{FULL}search: {block}\n") == f"s.yaml: {message}"
