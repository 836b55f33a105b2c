"""The training loop of one trial: step, log, evaluate, checkpoint. It knows neither MLflow nor Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch
from PIL import Image

from essnet.atomic_files import write_atomically, write_json
from essnet.config import TrialConfig
from essnet.data.loading import Batch
from essnet.training.batches import TrainBatches
from essnet.training.checkpoint_folder import CheckpointFolder
from essnet.training.checkpoint_writer import CheckpointWriter
from essnet.training.embedding_statistics import embedding_statistics
from essnet.training.evaluation import Evaluation
from essnet.training.first_batch import save_first_batch
from essnet.training.loss_watch import LossWatch, NonFiniteLossError
from essnet.training.memory import loss_memory_mib
from essnet.training.optimization import base_learning_rate, build_optimizer, build_schedule
from essnet.training.overfitting import AdaptTrial
from essnet.training.performance import Performance
from essnet.training.result import History, TrainResult
from essnet.training.resume import check_same_trial
from essnet.training.state import TrainingState
from essnet.training.step import OptimizerStep
from essnet.training.step_profile import step_range
from essnet.training.tracker import NullTracker, Tracker
from essnet.training.trial import Trial, build_trial
from essnet.training.weight_average import WeightAverage

__all__ = ["NonFiniteLossError", "Report", "Trainer"]

Report = Callable[[int, Mapping[str, float]], None]
"""Called with (step, metrics)."""


class Trainer:
    """Trains one trial.

    Parameters
    ----------
    config
        The trial.
    directory
        The run's folder: `config.yaml`, `checkpoints/`, `history.jsonl`, `predictions/`, `first_batch.png`,
        `result.json`, and `label_histogram.json` where the training labels were counted.
    cache_dir
        Where scans of data sets and counts of their labels are kept.
    report
        Called once for each evaluation, when its checkpoint is on disk: some steps later, if it is still being
        written, but before the next evaluation.
    progress
        Called after each optimizer step, with the last loss that is known: on a CPU that of the step.
    should_stop
        Asked after each step; True ends the run with a checkpoint.
    scan_progress
        Called with (files looked through, files in all) while a folder is scanned, or labels are counted.
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
        scan_progress: Callable[[int, int], None] | None = None,
        max_eval_batches: int | None = None,
        adapt_trial: AdaptTrial | None = None,
        resume: bool = False,
    ) -> None:
        self.config = config
        self.directory = directory
        self.checkpoints = CheckpointFolder(directory / "checkpoints", keep=config.trainer.keep_checkpoints)
        resume_from = self.checkpoints.newest_whole() if resume else None
        if resume_from is not None:
            check_same_trial(resume_from.config, config)
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
        self._report = report
        self._progress = progress
        self._should_stop = should_stop if should_stop is not None else lambda: False
        self._max_eval_batches = max_eval_batches
        self._batches = TrainBatches(self.trial)
        self._evaluation = Evaluation(config, self.trial.eval_data, model=model, device=device)
        self._history = History(directory / "history.jsonl")
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
        self.state = TrainingState(
            device=device,
            model=model,
            optimizer=self.optimizer,
            schedule=self.schedule,
            performance=self._performance,
            average=None if decay is None else WeightAverage(model, decay=decay),
            scaler=self._step.precision.scaler,
        )
        self._writer = CheckpointWriter(self.checkpoints, config=config, classes=self.trial.train_data.classes)
        self._to_report: tuple[int, Mapping[str, float]] | None = None
        if resume_from is not None:
            self.state.restore(resume_from)
            best_step = self.checkpoints.go_on_from(self.step, best_step=self.state.best_step)
            if best_step is None:
                self.state.best_step, self.state.best = None, {}

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self.state.step

    @step.setter
    def step(self, step: int) -> None:
        self.state.step = step

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
        self._history.rewind(self.step)
        if self.trial.train_labels is not None:
            counts = self.trial.train_labels.to_json(self.trial.train_data.classes)
            write_json(self.directory / "label_histogram.json", counts)
        try:
            self._take_steps()
            self._settle()
        except BaseException:
            self._writer.wait_after_failure()
            raise
        finally:
            self._tracker.flush()  # a run that fails keeps what it logged until then
        result = TrainResult(
            directory=self.directory,
            best_checkpoint=self.checkpoints.best(),
            last_checkpoint=self.checkpoints.last(),
            metrics={**self.state.best, **self._performance.summary()},
            steps=self.step,
            interrupted=self.step < self.config.trainer.max_steps,
        )
        if not result.interrupted:
            write_json(self.directory / "result.json", result.to_json())
        return result

    def _take_steps(self) -> None:
        config, performance, watch = self.config.trainer, self._performance, self._watch
        if self.step >= config.max_steps:
            return
        evaluate_every = self.config.evaluation.every_steps or config.max_steps
        checkpoint_every = config.checkpoint_every_steps or evaluate_every
        batches = self._with_loss_memory(self._with_picture(self._timed(self._batches.after(self.step))))
        self.trial.model.train()
        performance.begin()
        stopped = False
        while self.step < config.max_steps and not stopped:
            step = self.step + 1
            evaluate_now = step % evaluate_every == 0 or step == config.max_steps
            log_now = step % config.log_every_steps == 0 or evaluate_now
            learning_rate = base_learning_rate(self.optimizer)
            self._step.take(step, islice(batches, config.accumulate_steps), measure_norm=log_now)
            if self.state.average is not None:
                self.state.average.update()
            self.step = step
            performance.add_step()

            if log_now:
                watch.wait()  # the one point at which the host waits for a GPU
                figures = {"train/loss": watch.loss, "train/lr": learning_rate, **performance.end_interval()}
                if watch.gradient_norm is not None:
                    figures["train/gradient_norm"] = watch.gradient_norm
                self._tracker.log(step, figures)
                performance.begin_interval()
            if self._progress is not None:
                self._progress(step, {"train/loss": watch.loss})
            if evaluate_now:
                self._settle()
                performance.note_peak_memory()
                self._evaluate()
            stopped = self._should_stop()
            if evaluate_now or stopped or step % checkpoint_every == 0:
                self._save()
                performance.begin_interval()
            if self._writer.has_finished():
                self._settle()

    def _with_picture(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Draw the first batch, unless a picture of the run's is there."""
        path = self.directory / "first_batch.png"
        if path.exists():
            return batches
        batch = next(batches)
        save_first_batch(path, batch, classes=self.trial.train_data.classes)
        self._tracker.log_artifact(path, "")
        return chain([batch], batches)

    def _with_loss_memory(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Measure the memory of output layer and loss with the first batch, unless it is known."""
        memory, trial = self._performance.memory, self.trial
        if "perf/loss_memory_mib" in memory:
            return batches
        images, targets = next(batches)
        with self._step.precision.autocast():
            memory["perf/loss_memory_mib"] = loss_memory_mib(
                trial.model, images.to(trial.device), targets.to(trial.device)
            )
        return chain([(images, targets)], batches)

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            with self._performance.data_wait(), step_range("data"):
                batch = next(batches)
            yield batch

    def _evaluate(self) -> None:
        """Evaluate, log, draw, and note whether this is the best so far."""
        state, step = self.state, self.step
        with self._performance.evaluation():
            result = self._evaluation.run(
                state.evaluated_model,
                max_batches=self._max_eval_batches,
                num_pictures=self.config.evaluation.num_pictures,
            )
            embeddings = embedding_statistics(state.evaluated_model.output_layer, predicted=result.counts.predicted())
        metrics = {**result.metrics, **embeddings}
        self._tracker.log(step, {**metrics, **self._performance.evaluation_figures()})
        self._history.append(step, {**metrics, **self._performance.summary()})
        if result.picture is not None:
            self._keep_picture(result.picture)
        self._to_report = step, metrics
        if not state.best or metrics["val/miou"] > state.best["val/miou"]:
            state.best_step, state.best = step, metrics

    def _keep_picture(self, picture: Image.Image) -> None:
        path = self.directory / "predictions" / f"step-{self.step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: picture.save(temporary, format="png"))
        self._tracker.log_artifact(path, "predictions")

    def _save(self) -> None:
        """Copy what a checkpoint needs, and have it written while training goes on."""
        self._watch.wait()
        self._writer.wait()
        self._tracker.flush()  # so that nothing before a checkpoint is missing from a run whose store answers
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
        if self._to_report is not None:
            to_report, self._to_report = self._to_report, None
            if self._report is not None:
                # Last of all: a scheduler may end the run in this call, and then everything is on disk.
                self._report(*to_report)


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
