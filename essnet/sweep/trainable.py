"""One trial inside a Ray worker."""

from __future__ import annotations

import json
import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from essnet.atomic_files import write_atomically, write_json
from essnet.config import TrialConfig, to_yaml
from essnet.config.extensions import allow
from essnet.data.loader_watch import last_words
from essnet.file_lock import hold
from essnet.sweep.asked_to_end import asked_to_end
from essnet.sweep.failures import CRASH, failure_kind, in_a_line
from essnet.sweep.interrupted import Interrupted
from essnet.sweep.requests import Requests
from essnet.sweep.stored_trial import stored_trial
from essnet.sweep.trial_log import LOG_FILE, trial_log
from essnet.sweep.trial_run import trial_run
from essnet.tracking.dataset_input import dataset_inputs
from essnet.training.free_memory import return_memory
from essnet.training.trainer import Trainer

_OLD_WORKER_SECONDS = 60.0


def run_trial(task: Mapping[str, Any]) -> None:
    """Run a trial from where its last checkpoint is.

    `task` is what `PlannedSearch.suggest` returns. The folder's files say how it went: `result.json` when it reached
    its last step, `error.json` when it failed. Only what is worth a retry at once is raised, for Ray to do so.
    """
    interrupted = Interrupted(task["sweep_id"])
    if task["storage"] is None:
        requests = Requests(Path(task["sweep_directory"]))
        with asked_to_end(lambda: requests.is_to_stop(task["trial_id"]) or interrupted.is_noted()) as should_stop:
            _run(task, should_stop=should_stop, before_report=lambda: None)
        return
    with (
        stored_trial(task) as (task_here, stored),
        asked_to_end(lambda: stored.should_stop() or interrupted.is_noted()) as should_stop,
    ):
        _run(task_here, should_stop=should_stop, before_report=stored.keep_files)


def _run(task: Mapping[str, Any], *, should_stop: Callable[[], bool], before_report: Callable[[], None]) -> None:
    directory = Path(task["directory"])
    stopped = False
    try:
        # After a driver was killed its workers live on for some seconds: two must never write one trial's folder.
        with hold(directory / "lock", wait_seconds=_OLD_WORKER_SECONDS):
            (directory / "error.json").unlink(missing_ok=True)
            with trial_log(directory / LOG_FILE) as logger:
                if should_stop():
                    logger.info("asked to stop before it began")
                    return
                with last_words(lambda words: _keep_last_words(directory, words, keep_files=before_report)):
                    _train(task, directory, logger, should_stop=should_stop, before_report=before_report)
    except SystemExit:  # out of `tune.report`: the scheduler has stopped the trial, or the sweep was interrupted
        stopped = True
    except Exception as error:  # kept for the report, whatever it is
        kind = failure_kind(error)
        failure = {"kind": kind, "message": in_a_line(error), "traceback": traceback.format_exc()}
        try:
            write_json(directory / "error.json", failure)
        except OSError:  # the disk is full, say, which may be all that was wrong: the driver is told by the error
            raise error from None
        if kind == CRASH:
            raise
    # The process waits for its next trial. Not before: an error in flight holds all that the trial had.
    return_memory()
    if stopped:
        raise SystemExit(0)


def _keep_last_words(directory: Path, words: str, *, keep_files: Callable[[], None]) -> None:
    """Say why the process is ended: Ray knows only that it is gone."""
    write_json(directory / "error.json", {"kind": CRASH, "message": words, "traceback": ""})
    keep_files()


def _train(
    task: Mapping[str, Any],
    directory: Path,
    logger: logging.Logger,
    *,
    should_stop: Callable[[], bool],
    before_report: Callable[[], None],
) -> None:
    config = TrialConfig.model_validate(task["trial"])
    # What the sweep's YAML names, and not what a trial's record might, which comes from the folder.
    allow(task["code"], folder=Path(task["code_folder"]))
    text = to_yaml(config)
    write_atomically(directory / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))

    def report(step: int, metrics: Mapping[str, float]) -> None:
        logger.info("step %d: %s", step, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        before_report()  # the driver looks at the trial's files as soon as it knows
        tune.report({"step": step, **metrics})

    trainer = Trainer(
        config,
        directory=directory,
        cache_dir=Path(task["cache_dir"]),
        report=report,
        progress=_progress_file(directory / "progress.json", config.trainer.max_steps),
        should_stop=should_stop,
        resume=True,
    )
    with trial_run(task, config) as tracker:
        trainer.track_with(tracker)
        data = trainer.trial
        tracker.log_inputs(dataset_inputs(config, train=data.train_data, evaluation=data.eval_data))
        logger.info("step %d of %d: training begins", trainer.step, config.trainer.max_steps)
        result = trainer.train()
        logger.info("step %d: %s", trainer.step, "stopped, as was asked" if result.interrupted else "done")


def _progress_file(path: Path, max_steps: int) -> Callable[[int, Mapping[str, float]], None]:
    """Return a callback that writes the progress at most once a second."""
    started: tuple[float, int] | None = None
    written = -math.inf

    def write(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal started, written
        now = time.monotonic()
        if started is None:  # the first step warms up: the pace is that of those after it
            started = now, step
        if now - written < 1.0 and step != max_steps:
            return
        written = now
        per_step = (now - started[0]) / (step - started[1]) if step > started[1] else None
        progress = {
            "step": step,
            "max_steps": max_steps,
            "loss": metrics["train/loss"],
            "seconds_per_step": per_step,
            "pid": os.getpid(),
        }
        # Training does not wait for the disk to have it: nothing goes on from this file.
        write_atomically(path, lambda temporary: temporary.write_text(json.dumps(progress), encoding="utf-8"))

    return write
