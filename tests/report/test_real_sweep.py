"""A real sweep: its report recomputed from MLflow's store, naively, and its page in a real browser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.browser import chromium
from tests.report.page.test_in_browser import drawn_sizes, opened
from tests.sweep.sweeps import write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
T_OF_TWO_DEGREES = 4.302652729911275
"""Student's t at 97.5 %, from a table."""
ARMS = {
    "full": {"objective.name": "full_softmax"},
    "knn": {
        "objective.name": "knn_softmax",
        "objective.embedding_dim": {"choice": [2, 4]},
        "objective.num_neighbours": 1,
    },
}
COSTS = ("perf/loss_memory_mib", "perf/step_ms")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what `sweep --json` printed, of three seeds of the best of each arm."""
    root = tmp_path_factory.mktemp("real")
    write_sweep(root, replicate={"seeds": [0, 1, 2]}, arms=ARMS)
    command = [sys.executable, str(ROOT / "launch.py"), "sweep", "sweep.yaml", "--json", "--output", "runs"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def client(report: dict[str, Any]) -> MlflowClient:
    return MlflowClient(report["tracking_uri"])


@pytest.fixture(scope="module")
def configurations(report: dict[str, Any], client: MlflowClient) -> dict[tuple[Any, ...], dict[int, Run]]:
    """Return (objective, d, k) -> seed -> run, from the runs' params alone."""
    parent = client.get_run(report["parent_run_id"])
    runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    found: dict[tuple[Any, ...], dict[int, Run]] = defaultdict(dict)
    for run in runs:
        params = run.data.params
        is_full = params["objective.name"] == "full_softmax"
        size = () if is_full else (int(params["objective.embedding_dim"]), int(params["objective.num_neighbours"]))
        found[(params["objective.name"], *size)][int(params["seed"])] = run
    assert sum(len(of_seeds) for of_seeds in found.values()) == len(report["trials"])
    return found


def values_of(client: MlflowClient, run: Run, metric: str) -> list[float]:
    points = sorted(client.get_metric_history(run.info.run_id, metric), key=lambda point: point.step)
    return [point.value for point in points]


def usual_cost(values: list[float]) -> float:
    """Return the median, the first value aside: it warms up."""
    return median(values[1:] or values)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def half_width(values: list[float]) -> float | None:
    if len(values) != 3:
        return None
    variance = sum((value - mean(values)) ** 2 for value in values) / 2
    return T_OF_TWO_DEGREES * (variance / 3) ** 0.5


def key_of(one: dict[str, Any]) -> tuple[Any, ...]:
    overrides = one["overrides"]
    size = [overrides[f"objective.{name}"] for name in ("embedding_dim", "num_neighbours") if one["arm"] != "full"]
    return overrides["objective.name"], *size


def test_means_intervals_and_differences_are_those_of_the_raw_store(
    report: dict[str, Any], client: MlflowClient, configurations: dict[tuple[Any, ...], dict[int, Run]]
) -> None:
    best = {
        key: {seed: max(values_of(client, run, "val/miou")) for seed, run in runs.items()}
        for key, runs in configurations.items()
    }
    baseline = best["full_softmax",]
    assert len(baseline) == 3
    assert {key_of(one) for one in report["configurations"]} == set(best)
    for one in report["configurations"]:
        mine = best[key_of(one)]
        assert sorted(one["seeds"]) == sorted(mine)
        assert one["mean"] == pytest.approx(mean(list(mine.values())), rel=1e-6)
        expected = half_width(list(mine.values()))
        assert one["half_width"] == (None if expected is None else pytest.approx(expected, rel=1e-4))
        differences = [mine[seed] - baseline[seed] for seed in mine]
        assert one["difference"] == pytest.approx(mean(differences), abs=1e-6)
        if one["arm"] != "full":
            expected = half_width(differences)
            assert one["difference_half_width"] == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_best_and_baseline_are_those_of_the_raw_store(
    report: dict[str, Any], client: MlflowClient, configurations: dict[tuple[Any, ...], dict[int, Run]]
) -> None:
    replicated = {key: runs for key, runs in configurations.items() if len(runs) == 3 and key[0] != "full_softmax"}
    means = {
        key: mean([max(values_of(client, run, "val/miou")) for run in runs.values()])
        for key, runs in replicated.items()
    }
    best = max(means, key=lambda key: means[key])
    runs = {trial["trial_id"]: trial["run_id"] for trial in report["trials"]}
    assert runs[report["best"]] in {run.info.run_id for run in configurations[best].values()}
    assert runs[report["baseline"]] in {run.info.run_id for run in configurations["full_softmax",].values()}


@pytest.mark.parametrize("figure", COSTS)
def test_the_pareto_front_is_that_of_the_raw_store(
    report: dict[str, Any],
    client: MlflowClient,
    configurations: dict[tuple[Any, ...], dict[int, Run]],
    figure: str,
) -> None:
    points = {
        key: (
            mean([usual_cost(values_of(client, run, figure)) for run in runs.values()]),
            mean([max(values_of(client, run, "val/miou")) for run in runs.values()]),
        )
        for key, runs in configurations.items()
    }
    front = {
        key
        for key, (cost, gain) in points.items()
        if not any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points.values())
    }
    names = {trial_id: key_of(one) for one in report["configurations"] for trial_id in one["trials"]}
    assert {names[trial_id] for trial_id in report["pareto"][figure]} == front


def test_the_page_of_the_sweep_in_a_real_browser(report: dict[str, Any]) -> None:
    path = Path(report["directory"]) / "comparison.html"
    with chromium() as browser, opened(browser, path) as page:
        assert page.locator(".answer").inner_text() == report["answer"]
        assert set(drawn_sizes(page)) >= {"cost-memory", "cost-time", "curves", "classes", "embeddings"}
        assert page.locator(".pictures img").count() == 4  # an image, its truth, and two predictions
        assert page.locator("#tiny-confusions-part tbody tr").count() > 0
        environment = page.locator("#tiny-environment-part").inner_text()
        assert all(name in environment for name in ("torch", "ray", "mlflow", "Python"))
    saved = json.loads((Path(report["directory"]) / "comparison.json").read_text())
    assert saved["answer"] == report["answer"]


def test_the_page_is_an_artifact_of_the_parent_run(report: dict[str, Any], client: MlflowClient) -> None:
    names = {file.path for file in client.list_artifacts(report["parent_run_id"], "report")}
    assert names >= {f"report/comparison.{kind}" for kind in ("json", "csv", "html")}


def test_the_command_of_the_page_runs_the_best_again(report: dict[str, Any]) -> None:
    root = Path(report["directory"]).parents[1]
    best = f"{report['sweep']}/{report['best']}"
    command = [sys.executable, str(ROOT / "launch.py"), "train", "--from-trial", best, "--fast-dev-run"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    page = (Path(report["directory"]) / "comparison.html").read_text(encoding="utf-8")
    assert f"launch.py train --from-trial {best}</code>" in page
