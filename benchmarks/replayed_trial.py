"""A trial that does all that a real one does but train: it writes, tracks and reports a curve that is known before.

It imports nothing that computes, so that many fit on one machine: a worker takes 160 MiB, with torch three times that.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from essnet.atomic_files import read_json, write_atomically, write_json
from essnet.config import TrialConfig, to_yaml
from essnet.file_lock import hold
from essnet.sweep.trial_log import LOG_FILE, trial_log
from essnet.sweep.trial_run import trial_run

CURVES_FILE = "curves.json"
"""In the folder of caches: seconds between evaluations, and curves of mIoU, each of any length."""

EVALUATED = ("val/miou", "val/loss", "val/mean_accuracy", "val/pixel_accuracy", "val/fw_iou", "perf/evaluation_s")
"""Metrics that are tracked at each evaluation."""
LOGGED = ("train/loss", "train/lr", "train/gradient_norm", "perf/step_ms", "perf/images_per_s", "perf/data_wait_ms")
"""Metrics that are tracked each time that steps are logged."""


def replay_trial(task: Mapping[str, Any]) -> None:
    """Run a trial as `essnet.sweep.trainable.run_trial` does, with a curve in place of the training."""
    directory = Path(task["directory"])
    with hold(directory / "lock", wait_seconds=60.0), trial_log(directory / LOG_FILE) as logger:
        config = TrialConfig.model_validate(task["trial"])
        write_atomically(directory / "config.yaml", lambda path: path.write_text(to_yaml(config), encoding="utf-8"))
        with trial_run(task, config) as tracker:
            curves = read_json(Path(task["cache_dir"]) / CURVES_FILE)
            curve = curves["curves"][zlib.crc32(task["trial_id"].encode()) % len(curves["curves"])]
            log_every = config.trainer.log_every_steps
            steps, every = config.trainer.max_steps, config.evaluation.every_steps or config.trainer.max_steps
            logger.info("step 0 of %d: training begins", steps)
            for step in range(every, steps + 1, every):
                time.sleep(curves["seconds"])
                for logged in range(step - every + log_every, step + 1, log_every):
                    tracker.log(logged, dict.fromkeys(LOGGED, 1.0))
                metrics = {**dict.fromkeys(EVALUATED, 1.0), "val/miou": value_at(curve, step / steps)}
                tracker.log(step, metrics)
                tracker.flush()
                progress = {"step": step, "max_steps": steps, "loss": 1.0, "seconds_per_step": 1.0, "pid": os.getpid()}
                write_json(directory / "progress.json", progress)
                with (directory / "history.jsonl").open("a", encoding="utf-8") as history:
                    history.write(json.dumps({"step": step, "metrics": metrics}) + "\n")
                logger.info("step %d: val/miou %.4g", step, metrics["val/miou"])
                tune.report({"step": step, **metrics})
            write_json(directory / "result.json", {"steps": steps, "metrics": metrics})
            logger.info("step %d: done", steps)


def value_at(curve: Sequence[float], part: float) -> float:
    """Return a curve's value after a part of the training, linear between its points; it begins at 0."""
    points = [0.0, *curve]
    place = part * (len(points) - 1)
    before = min(int(place), len(points) - 2)
    return points[before] + (place - before) * (points[before + 1] - points[before])


def generated_curves(number: int, *, points: int, seed: int) -> list[list[float]]:
    """Return curves that rise towards an end of their own at a pace of their own, with noise."""
    generator = random.Random(seed)
    curves = []
    for _ in range(number):
        end, pace = generator.betavariate(4, 2), generator.uniform(2, 8)
        rise = [end * (1 - math.exp(-pace * place / points)) for place in range(1, points + 1)]
        curves.append([min(1.0, max(0.0, value + generator.gauss(0, 0.01))) for value in rise])
    return curves
