"""The training loop of one trial: step, log, evaluate, checkpoint. It knows neither MLflow nor Ray."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from essnet.atomic_files import write_atomically, write_json
from essnet.config import TrialConfig
from essnet.data import eval_loader, train_loader
from essnet.data.batch_sampler import TrainBatchSampler
from essnet.data.loading import Batch
from essnet.training.checkpoint import CheckpointFolder, open_checkpoint
from essnet.training.evaluation import evaluate, prediction_picture
from essnet.training.memory import loss_memory_mib
from essnet.training.optimization import base_learning_rate, build_optimizer, build_schedule
from essnet.training.performance import Performance
from essnet.training.result import History, TrainResult
from essnet.training.resume import check_same_trial
from essnet.training.tracker import NullTracker, Tracker
from essnet.training.trial import Trial, build_trial, load_weights

Report = Callable[[int, Mapping[str, float]], None]
"""Called with (step, metrics)."""


class NonFiniteLossError(RuntimeError):
    """The loss is NaN or infinite; the optimizer has not stepped."""


class Trainer:
    """Trains one trial.

    Parameters
    ----------
    config
        The trial.
    directory
        The run's folder: `config.yaml`, `checkpoints/`, `history.jsonl`, `predictions/`, `result.json`.
    cache_dir
        Where scans of data sets are kept.
    report
        Called after each evaluation.
    progress
        Called after each optimizer step, with the last loss that was logged.
    should_stop
        Asked after each step; True ends the run with a checkpoint.
    scan_progress
        Called with (files looked through, files in all) while a folder of images is scanned.
    max_eval_batches
        Evaluate on the first batches only.

    Raises
    ------
    InputError
        If the trial cannot be built.
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
        resume: bool = False,
    ) -> None:
        self.config = config
        self.directory = directory
        self.checkpoints = CheckpointFolder(directory / "checkpoints")
        resume_from = self.checkpoints.last() if resume else None
        if resume_from is not None:
            check_same_trial(open_checkpoint(resume_from).config, config)
        if config.trainer.num_threads is not None:
            torch.set_num_threads(config.trainer.num_threads)
        self.trial: Trial = build_trial(
            config, cache_dir=cache_dir, pretrained=resume_from is None, scan_progress=scan_progress
        )
        self.optimizer = build_optimizer(self.trial.model.parameter_groups(), config.optimizer)
        self.schedule = build_schedule(self.optimizer, config.schedule, max_steps=config.trainer.max_steps)
        self._tracker: Tracker = NullTracker()
        self._report = report
        self._progress = progress
        self._should_stop = should_stop if should_stop is not None else lambda: False
        self._max_eval_batches = max_eval_batches
        self._eval_batches = eval_loader(
            self.trial.eval_data,
            batch_size=config.evaluation.batch_size,
            num_workers=config.data.num_workers,
            multiple=self.trial.model.stride_multiple,
            minimum_side=self.trial.model.minimum_side,
            pin_memory=self.trial.device.type == "cuda",
        )
        self._history = History(directory / "history.jsonl")
        self.step = 0
        self._best_step: int | None = None
        self._best: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._performance = Performance(self.trial.device, config.trainer.batch_size)
        if resume_from is not None:
            self._restore(resume_from)

    def track_with(self, tracker: Tracker) -> None:
        """Send metrics and pictures to `tracker` from now on."""
        self._tracker = tracker

    def train(self) -> TrainResult:
        """Train to the last step, or until asked to stop.

        Raises
        ------
        NonFiniteLossError
            If a loss is NaN or infinite.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._history.rewind(self.step)
        try:
            self._take_steps()
        finally:
            self._tracker.flush()  # a run that fails keeps what it logged until then
        result = TrainResult(
            directory=self.directory,
            best_checkpoint=self.checkpoints.best(),
            last_checkpoint=self.checkpoints.last(),
            metrics={**self._best, **self._performance.summary()},
            steps=self.step,
            interrupted=self.step < self.config.trainer.max_steps,
        )
        if not result.interrupted:
            write_json(self.directory / "result.json", result.to_json())
        return result

    def _take_steps(self) -> None:
        config, performance = self.config.trainer, self._performance
        evaluate_every = self.config.evaluation.every_steps or config.max_steps
        checkpoint_every = config.checkpoint_every_steps or evaluate_every
        batches = self._train_batches()
        self.trial.model.train()
        performance.begin()
        stopped = False
        while self.step < config.max_steps and not stopped:
            with performance.data_wait():
                images, targets = next(batches)
            if "perf/loss_memory_mib" not in performance.memory:
                performance.memory["perf/loss_memory_mib"] = loss_memory_mib(
                    self.trial.model, images.to(self.trial.device), targets.to(self.trial.device)
                )
                performance.begin()
            learning_rate = base_learning_rate(self.optimizer)
            loss = self._optimizer_step(images, targets)
            self.step += 1
            performance.add_step()

            evaluate_now = self.step % evaluate_every == 0 or self.step == config.max_steps
            if self.step % config.log_every_steps == 0 or evaluate_now:
                figures = performance.end_interval()
                self._tracker.log(self.step, {"train/loss": loss, "train/lr": learning_rate, **figures})
                performance.begin_interval()
            if self._progress is not None:
                self._progress(self.step, {"train/loss": loss})
            if evaluate_now:
                performance.note_peak_memory()
                self._evaluate()
            stopped = self._should_stop()
            if evaluate_now or stopped or self.step % checkpoint_every == 0:
                self._save()
                performance.begin_interval()
            if evaluate_now and self._report is not None:
                # Last of all: a scheduler may end the run in this call, and then everything is on disk.
                self._report(self.step, self._latest)

    def _train_batches(self) -> Iterator[Batch]:
        return iter(
            train_loader(
                self.trial.train_data,
                transform=self.trial.transform,
                batch_size=self.config.trainer.batch_size,
                seed=self.config.seed,
                start_step=self.step,
                num_workers=self.config.data.num_workers,
                pin_memory=self.trial.device.type == "cuda",
            )
        )

    def _optimizer_step(self, images: Tensor, targets: Tensor) -> float:
        device = self.trial.device
        outputs = self.trial.model(images.to(device, non_blocking=True))
        loss = self.trial.model.output_layer.loss(outputs, targets.to(device, non_blocking=True))
        value = float(loss.detach())  # the one point of a step at which the host waits for a GPU
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"step {self.step + 1}: the loss is {value}, the optimizer has not stepped; "
                f"the batch is train images {self._describe_batch()}; "
                f"try a lower optimizer.lr (now {self.config.optimizer.lr})"
            )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.schedule.step()
        return value

    def _evaluate(self) -> None:
        """Evaluate, log, draw, and note whether this is the best so far."""
        classes = self.trial.train_data.classes
        metrics = evaluate(
            self.trial.model,
            islice(self._eval_batches, self._max_eval_batches),
            num_classes=classes.num_classes,
            device=self.trial.device,
        )
        self._tracker.log(self.step, {**metrics, **self._performance.memory})
        self._history.append(self.step, {**metrics, **self._performance.summary()})
        if self.config.evaluation.num_pictures:
            picture = prediction_picture(
                self.trial.model,
                self._eval_batches,
                classes=classes,
                device=self.trial.device,
                count=self.config.evaluation.num_pictures,
            )
            path = self.directory / "predictions" / f"step-{self.step:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda temporary: picture.save(temporary, format="png"))
            self._tracker.log_artifact(path, "predictions")
        self._latest = metrics
        if not self._best or metrics["val/miou"] > self._best["val/miou"]:
            self._best_step, self._best = self.step, metrics

    def _save(self) -> None:
        self._tracker.flush()  # so that nothing before a checkpoint is missing from a run whose store answers
        device = self.trial.device
        self.checkpoints.save(
            self.step,
            best_step=self._best_step,
            weights=self.trial.model.state_dict(),
            trainer_state={
                "step": self.step,
                "best_step": self._best_step,
                "best": self._best,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "random_state": torch.get_rng_state(),
                "cuda_random_state": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
                "performance": self._performance.state_dict(),
            },
            config=self.config,
            classes=self.trial.train_data.classes,
        )

    def _restore(self, path: Path) -> None:
        checkpoint = open_checkpoint(path)
        load_weights(self.trial.model, checkpoint)
        state = checkpoint.trainer_state()
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step, self._best_step, self._best = state["step"], state["best_step"], state["best"]
        self._performance.load_state_dict(state["performance"])
        torch.set_rng_state(state["random_state"])
        if self.trial.device.type == "cuda" and state["cuda_random_state"] is not None:
            torch.cuda.set_rng_state(state["cuda_random_state"], self.trial.device)
        # A crash may have come between the two links.
        self.checkpoints.link(last=self.step, best=self._best_step)

    def _describe_batch(self) -> str:
        sampler = TrainBatchSampler(
            length=len(self.trial.train_data),
            batch_size=self.config.trainer.batch_size,
            seed=self.config.seed,
            start_step=self.step,
        )
        indices = [index for index, _ in next(iter(sampler))]
        return ", ".join(self.trial.train_data.describe(index) for index in indices)
