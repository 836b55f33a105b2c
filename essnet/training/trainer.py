"""The training loop of one trial: step, log, evaluate, checkpoint. It knows neither MLflow nor Ray."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from essnet.atomic_files import write_json
from essnet.config import TrialConfig
from essnet.progress import ItemProgress
from essnet.training.batches import TrainBatches
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.checkpoint_writer import CheckpointWriter
from essnet.training.evaluation import Evaluation
from essnet.training.loss_watch import LossWatch
from essnet.training.optimization import base_learning_rate, build_optimizer, build_schedule
from essnet.training.overfitting import AdaptTrial
from essnet.training.performance import Performance
from essnet.training.result import TrainResult
from essnet.training.resume import check_same_trial
from essnet.training.run_evaluations import Report, RunEvaluations
from essnet.training.state import TrainingState
from essnet.training.step import OptimizerStep
from essnet.training.system_usage import SystemUsage
from essnet.training.tracker import NullTracker, Tracker
from essnet.training.trial import Trial, build_trial
from essnet.training.watched_batches import watched_batches
from essnet.training.weight_average import WeightAverage


class Trainer:
    """Trains one trial.

    Parameters
    ----------
    config
        The trial.
    directory
        The run's folder: `config.yaml`, `checkpoints/`, `history.jsonl`, `predictions/`, `evaluation/`,
        `first_batch.png`, `result.json`, and `label_histogram.json` where the training labels were counted.
    cache_dir
        Where scans of data sets and counts of their labels are kept.
    report
        Called once for each evaluation, when its checkpoint is on disk: some steps later, if it is still being
        written, but before the next evaluation.
    progress
        Called after each optimizer step, with the last loss that is known: on a CPU that of the step.
    should_stop
        Asked after each step, and each batch of an evaluation; True ends the run with a checkpoint. An evaluation
        that was left is the first thing that a resumed run does.
    scan_progress
        Called while a folder is scanned, or labels are counted; its items are files.
    max_eval_batches
        Evaluate on the first batches only.
    adapt_trial
        Makes another trial of the one that was built.
    resume
        Go on from the newest checkpoint in the folder that is whole; without one, begin.

    Raises
    ------
    InputError
        If the trial cannot be built, or the checkpoints are another trial's or all damaged.
    """

    def __init__(
        self,
        config: TrialConfig,
        *,
        directory: Path,
        cache_dir: Path | None = None,
        report: Report | None = None,
        progress: Report | None = None,
        should_stop: Callable[[], bool] | None = None,
        scan_progress: ItemProgress | None = None,
        max_eval_batches: int | None = None,
        adapt_trial: AdaptTrial | None = None,
        resume: bool = False,
    ) -> None:
        self.config = config
        self.directory = directory
        self.checkpoints = CheckpointFolder(directory / "checkpoints", keep=config.trainer.keep_checkpoints)
        resume_from = self.checkpoints.newest_whole() if resume else None
        if resume_from is not None:
            check_same_trial(resume_from.checkpoint.config, config)
        if config.trainer.num_threads is not None:
            torch.set_num_threads(config.trainer.num_threads)
        _set_deterministic(config.trainer.deterministic)
        self.trial: Trial = build_trial(
            config, cache_dir=cache_dir, pretrained=resume_from is None, scan_progress=scan_progress
        )
        if adapt_trial is not None:
            self.trial = adapt_trial(self.trial)
        model, device = self.trial.model, self.trial.device
        self.optimizer = build_optimizer(model.parameter_groups(), config.optimizer)
        self.schedule = build_schedule(self.optimizer, config.schedule, max_steps=config.trainer.max_steps)
        self._tracker: Tracker = NullTracker()
        self._progress = progress
        self._evaluate_every = config.evaluation.every_steps or config.trainer.max_steps
        self._should_stop = should_stop if should_stop is not None else lambda: False
        self._batches = TrainBatches(self.trial)
        # Not a method: data loaders' workers end at once only where no cycle of references holds them.
        self._watch = LossWatch(device, explain=partial(_explain_non_finite, self.trial, self._batches))
        self._step = OptimizerStep(
            model,
            optimizer=self.optimizer,
            schedule=self.schedule,
            config=config.trainer,
            device=device,
            watch=self._watch,
        )
        decay = config.trainer.ema_decay
        self._performance = Performance(
            device, images_per_step=config.trainer.batch_size * config.trainer.accumulate_steps
        )
        self._system = SystemUsage(device)
        self.state = TrainingState(
            device=device,
            model=model,
            optimizer=self.optimizer,
            schedule=self.schedule,
            performance=self._performance,
            average=None if decay is None else WeightAverage(model, decay=decay),
            scaler=self._step.precision.scaler,
        )
        self._evaluations = RunEvaluations(
            Evaluation(config, self.trial.eval_data, model=model, device=device),
            state=self.state,
            directory=directory,
            num_pictures=config.evaluation.num_pictures,
            max_batches=max_eval_batches,
            should_stop=self._should_stop,
            report=report,
        )
        self._writer = CheckpointWriter(self.checkpoints, config=config, classes=self.trial.train_data.classes)
        if resume_from is not None:
            self.state.restore(resume_from)
            best_step = self.checkpoints.go_on_from(self.step, best_step=self.state.best_step)
            if best_step is None:
                self.state.best_step, self.state.best = None, {}

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self.state.step

    def track_with(self, tracker: Tracker) -> None:
        """Send metrics and pictures to `tracker` from now on."""
        self._tracker = tracker

    def train(self) -> TrainResult:
        """Train to the last step, or until asked to stop.

        Raises
        ------
        NonFiniteLossError
            If a loss, or the norm of a gradient, is NaN or infinite.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._evaluations.rewind()
        if self.trial.train_labels is not None:
            counts = self.trial.train_labels.to_json(self.trial.train_data.classes)
            write_json(self.directory / "label_histogram.json", counts)
        try:
            if not self._lacks_evaluation() or self._evaluate_late():
                self._take_steps()
            self._settle()
        except BaseException:
            self._writer.wait_after_failure()
            raise
        finally:
            self._tracker.flush()
        result = TrainResult(
            directory=self.directory,
            best_checkpoint=self.checkpoints.best(),
            last_checkpoint=self.checkpoints.last(),
            metrics={**self.state.best, **self._performance.summary()},
            steps=self.step,
            interrupted=self.step < self.config.trainer.max_steps or self._lacks_evaluation(),
        )
        if not result.interrupted:
            write_json(self.directory / "result.json", result.to_json())
        return result

    def _take_steps(self) -> None:
        config, state, performance = self.config.trainer, self.state, self._performance
        if state.step >= config.max_steps:
            return
        checkpoint_every = config.checkpoint_every_steps or self._evaluate_every
        batches = watched_batches(
            self._batches.after(state.step),
            trial=self.trial,
            precision=self._step.precision,
            performance=performance,
            picture=self.directory / "first_batch.png",
            tracker=self._tracker,
        )
        self.trial.model.train()
        performance.begin()
        self._system.begin()
        stopped = False
        while state.step < config.max_steps and not stopped:
            step = state.step + 1
            evaluate_now = self._evaluates_at(step)
            log_now = step % config.log_every_steps == 0 or evaluate_now
            learning_rate = base_learning_rate(self.optimizer)
            self._step.take(step, islice(batches, config.accumulate_steps), measure_norm=log_now)
            if state.average is not None:
                state.average.update()
            state.step = step
            performance.add_step()

            if log_now:
                self._log(learning_rate, evaluates=evaluate_now)
            if self._progress is not None:
                self._progress(step, {"train/loss": self._watch.loss})
            if evaluate_now:
                self._settle()
                performance.note_peak_memory()
                stopped = not self._evaluations.evaluate(self._tracker)
            stopped = stopped or self._should_stop()
            if evaluate_now or stopped or step % checkpoint_every == 0:
                self._save()
                performance.begin_interval()
            if self._writer.has_finished():
                self._settle()

    def _evaluates_at(self, step: int) -> bool:
        return step % self._evaluate_every == 0 or step == self.config.trainer.max_steps

    def _lacks_evaluation(self) -> bool:
        """Whether the run was asked to stop while it was evaluated where it stands."""
        return self.step > 0 and self._evaluates_at(self.step) and not self._evaluations.has(self.step)

    def _evaluate_late(self) -> bool:
        """Evaluate where the run stands, and save the checkpoint again; False if it was asked to stop before."""
        evaluated = self._evaluations.evaluate(self._tracker)
        if evaluated:
            self._save()
        return evaluated

    def _log(self, learning_rate: float, *, evaluates: bool) -> None:
        """Log the figures of the last step, how long those since the last log took, and what they took."""
        watch = self._watch
        watch.wait()  # between evaluations and checkpoints the loop waits for a GPU here alone, float16 aside
        figures = {"train/loss": watch.loss, "train/lr": learning_rate, **self._performance.end_interval()}
        if watch.gradient_norm is not None:
            figures["train/gradient_norm"] = watch.gradient_norm
        figures |= self._system.figures() if evaluates else self._system.figures_if_due()
        self._tracker.log(self.step, figures)
        self._performance.begin_interval()

    def _save(self) -> None:
        """Copy what a checkpoint needs, and have it written while training goes on."""
        self._watch.wait()
        self._writer.wait()
        self._tracker.flush()
        self._writer.start(
            self.step,
            best_step=self.state.best_step,
            weights=self.state.weights(),
            trainer_state=self.state.trainer_state(),
        )

    def _settle(self) -> None:
        """Wait for the checkpoint that is being written, and report the evaluation that it follows.

        Raises what the writing raised.
        """
        self._writer.wait()
        self._evaluations.report()  # last of all: a scheduler may end the run in this call, with everything on disk


def _explain_non_finite(trial: Trial, batches: TrainBatches, step: int) -> str:
    on_cpu = trial.device.type == "cpu"
    return (
        f"{'the optimizer has not stepped' if on_cpu else 'nothing of it is saved'}; "
        f"the batch is train images {batches.describe(step)}; "
        f"try a lower optimizer.lr (now {trial.config.optimizer.lr})"
    )


def _set_deterministic(deterministic: bool) -> None:
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    # Set either way: a process runs one trial after another.
    torch.use_deterministic_algorithms(deterministic)
