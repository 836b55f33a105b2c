"""The report of a large sweep: how long its page takes to write, how large it is, how soon it can be used.

    python benchmarks/report.py
    python benchmarks/report.py --trials 20 --points 20 --metrics 5 --rounds 1

The sweep is made up: a baseline with three seeds, arms that search d, k and the rate, every tenth trial stopped early.
Seconds of the page are those of `launch.py report SWEEP --format html`, the start of Python included, in turns with
the same command's table; those in the browser count from the navigation, in a fresh Chromium profile each round, until
the tables can be sorted and until every chart is drawn. Medians.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import Browser

from essnet.sweep.folder import COMPLETED, STOPPED, SweepFolder
from tests.browser import chromium
from tests.report.full_sweep import add_evaluation
from tests.report.sweep_folders import add_trial, make_sweep_folder

ROOT = Path(__file__).resolve().parents[1]
_STEPS_A_POINT = 10
_OBJECTIVES = {"full": "full_softmax", "knn": "knn_softmax", "exact": "embedding_softmax"}
_WATCH = """
window.benchmark = {};
new MutationObserver(() => {
  const told = window.benchmark;
  if (!told.tables && document.querySelector("thead button")) told.tables = performance.now();
  if (!told.charts && document.documentElement.dataset.charts === "drawn") told.charts = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


def make_sweep(path: Path, *, trials: int, points: int, metrics: int) -> SweepFolder:
    """Write the folder of a sweep whose trials have `points` evaluations of `metrics` figures each."""
    draw = random.Random(0)
    folder = make_sweep_folder(path, num_trials=trials)
    for index in range(trials):
        arm = "full" if index < 3 else ("knn", "exact")[index % 2]
        is_stopped = arm != "full" and index % 10 == 9
        point: dict[str, float] = {}
        if arm != "full":
            point = {"objective.embedding_dim": draw.choice([4, 8, 16, 32, 64, 128]), "optimizer.lr": draw.random()}
        if arm == "knn":
            point["objective.num_neighbours"] = draw.randint(1, 31)
        objective = {path.removeprefix("objective."): value for path, value in point.items()}
        add_trial(
            folder,
            index,
            arm,
            _history(draw, points // 4 if is_stopped else points, metrics),
            state=STOPPED if is_stopped else COMPLETED,
            seed=index if arm == "full" else 0,
            objective={"name": _OBJECTIVES[arm], **objective},
            point=point,
            overrides={**point, "seed": index} if arm == "full" else point,
        )
    # What the best trial is, is seen only now: all leave what they evaluated.
    for record in folder.records():
        add_evaluation(folder, record.trial_id, gain=draw.random() / 10, with_embeddings=record.arm != "full")
    return folder


def _history(draw: random.Random, points: int, metrics: int) -> dict[int, dict[str, float]]:
    level, memory = draw.uniform(0.5, 0.8), draw.uniform(5, 50)
    history = {}
    for place in range(1, points + 1):
        values = {f"val/other_{number}": draw.random() for number in range(metrics - 3)}
        values["val/miou"] = level * (1 - 0.97**place) + draw.gauss(0, 0.003)
        values["perf/step_ms"] = 50 + memory
        values["perf/loss_memory_mib"] = memory
        history[_STEPS_A_POINT * place] = values
    return history


def seconds_of_report(folder: SweepFolder, form: str) -> float:
    """Return the seconds of `launch.py report` on a sweep."""
    command = [sys.executable, str(ROOT / "launch.py"), "report", folder.path.name, "--format", form]
    began = time.perf_counter()
    subprocess.run([*command, "--output", str(folder.path.parent)], check=True, capture_output=True)
    return time.perf_counter() - began


def seconds_in_browser(browser: Browser, path: Path) -> dict[str, float]:
    """Return the seconds from the navigation until tables can be sorted, and until every chart is drawn."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = context.new_page()
        page.add_init_script(_WATCH)
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-charts=drawn]", timeout=120_000)
        return {name: value / 1000 for name, value in page.evaluate("window.benchmark").items()}
    finally:
        context.close()


def main() -> None:
    """Print one line of JSON with every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, chromium() as browser:
        folder = make_sweep(
            Path(root) / "large", trials=arguments.trials, points=arguments.points, metrics=arguments.metrics
        )
        page = folder.path / "comparison.html"
        seconds: dict[str, list[float]] = {"page": [], "table": [], "browser_tables": [], "browser_charts": []}
        for _ in range(arguments.rounds):
            seconds["page"].append(seconds_of_report(folder, "html"))
            seconds["table"].append(seconds_of_report(folder, "terminal"))
            for name, value in seconds_in_browser(browser, page).items():
                seconds[f"browser_{name}"].append(value)
        figures = {f"{name}_s": round(median(values), 2) for name, values in seconds.items()}
        size = round(page.stat().st_size / 1e6, 2)
    print(json.dumps({**vars(arguments), **figures, "page_mb": size}))


if __name__ == "__main__":
    main()
