"""The training loop of one trial: step, log, evaluate, checkpoint. It knows neither MLflow nor Ray."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from essnet.atomic_files import write_atomically, write_json
from essnet.config import InputError, TrialConfig
from essnet.config.overrides import flatten
from essnet.data import eval_loader, train_loader
from essnet.data.loading import TrainBatchSampler
from essnet.training.checkpoint import CheckpointFolder, open_checkpoint
from essnet.training.device import PeakMemory, extra_memory_mib
from essnet.training.evaluation import evaluate, prediction_picture
from essnet.training.optimization import base_learning_rate, build_optimizer, build_schedule
from essnet.training.result import History, TrainResult
from essnet.training.step_timer import StepTimer
from essnet.training.tracker import NullTracker, Tracker
from essnet.training.trial import Trial, build_trial, load_weights

Report = Callable[[int, Mapping[str, float]], None]
"""Called with (step, metrics)."""

_MAY_CHANGE_ON_RESUME = ("trainer.device", "trainer.num_threads", "trainer.log_every_steps", "data.num_workers",
                         "data.root", "evaluation.num_pictures", "tracking.uri", "tracking.experiment")  # fmt: skip


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
        max_eval_batches: int | None = None,
        resume: bool = False,
    ) -> None:
        self.config = config
        self.directory = directory
        self.checkpoints = CheckpointFolder(directory / "checkpoints")
        resume_from = self.checkpoints.last() if resume else None
        if resume_from is not None:
            _check_same_trial(open_checkpoint(resume_from).config, config)
        if config.trainer.num_threads is not None:
            torch.set_num_threads(config.trainer.num_threads)
        self.trial: Trial = build_trial(config, cache_dir=cache_dir, pretrained=resume_from is None)
        self.optimizer = build_optimizer(self.trial.model.parameter_groups(), config.optimizer)
        self.schedule = build_schedule(self.optimizer, config.schedule, max_steps=config.trainer.max_steps)
        self._tracker: Tracker = NullTracker()
        self._report = report
        self._progress = progress
        self._should_stop = should_stop if should_stop is not None else lambda: False
        self._max_eval_batches = max_eval_batches
        self._history = History(directory / "history.jsonl")
        self.step = 0
        self._best: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._windows: list[dict[str, float]] = []  # perf/ figures of each logging interval
        self._memory: dict[str, float] = {}
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
        config, device, model = self.config.trainer, self.trial.device, self.trial.model
        evaluate_every = self.config.evaluation.every_steps or config.max_steps
        checkpoint_every = config.checkpoint_every_steps or evaluate_every
        self._history.rewind(self.step)
        batches = iter(
            train_loader(
                self.trial.train_data,
                transform=self.trial.transform,
                batch_size=config.batch_size,
                seed=self.config.seed,
                start_step=self.step,
                num_workers=self.config.data.num_workers,
                pin_memory=device.type == "cuda",
            )
        )
        peak = PeakMemory(device)
        model.train()
        timer = StepTimer(config.batch_size)
        stopped = False
        while self.step < config.max_steps and not stopped:
            with timer.data_wait():
                images, targets = next(batches)
            if not self._memory:
                self._memory["perf/loss_memory_mib"] = self._measure_loss_memory(images, targets)
                timer.restart()
            loss = self._optimizer_step(images, targets)
            self.step += 1
            timer.add_step()

            at_end = self.step == config.max_steps
            stopped = self._should_stop()
            evaluate_now = self.step % evaluate_every == 0 or at_end
            if self.step % config.log_every_steps == 0 or evaluate_now:
                self._windows.append(timer.figures())
                self._tracker.log(
                    self.step,
                    {"train/loss": loss, "train/lr": base_learning_rate(self.optimizer), **self._windows[-1]},
                )
                timer.restart()
            if self._progress is not None:
                self._progress(self.step, {"train/loss": loss})
            is_best = False
            if evaluate_now:
                self._memory["perf/peak_memory_mib"] = peak.mib()
                is_best = self._evaluate()
            if evaluate_now or stopped or self.step % checkpoint_every == 0:
                self._save(is_best=is_best)
                timer.restart()
            if evaluate_now and self._report is not None:
                # Last of all: a scheduler may end the run in this call, and then everything is on disk.
                self._report(self.step, self._latest)
        result = TrainResult(
            directory=self.directory,
            best_checkpoint=self.checkpoints.best(),
            last_checkpoint=self.checkpoints.last(),
            metrics={**self._best, **self._perf_summary()},
            steps=self.step,
            interrupted=self.step < config.max_steps,
        )
        self._tracker.flush()
        if not result.interrupted:
            write_json(self.directory / "result.json", result.to_json())
        return result

    def _optimizer_step(self, images: Tensor, targets: Tensor) -> float:
        device = self.trial.device
        outputs = self.trial.model(images.to(device, non_blocking=True))
        loss = self.trial.model.output_layer.loss(outputs, targets.to(device, non_blocking=True))
        value = float(loss.detach())  # the one point of a step at which the host waits for a GPU
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"step {self.step + 1}: the loss is {value}, the optimizer has not stepped; the batch is train images "
                f"{self._describe_batch()}; try a lower optimizer.lr (now {self.config.optimizer.lr})"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return value

    def _evaluate(self) -> bool:
        """Evaluate, log, draw, and return whether this is the best so far."""
        classes = self.trial.train_data.classes
        batches = eval_loader(
            self.trial.eval_data,
            batch_size=self.config.evaluation.batch_size,
            num_workers=self.config.data.num_workers,
            multiple=self.trial.model.stride_multiple,
        )
        metrics = evaluate(
            self.trial.model,
            islice(batches, self._max_eval_batches),
            num_classes=classes.num_classes,
            device=self.trial.device,
        )
        self._tracker.log(self.step, {**metrics, **self._memory})
        self._history.append(self.step, {**metrics, **self._perf_summary()})
        if self.config.evaluation.num_pictures:
            picture = prediction_picture(
                self.trial.model,
                batches,
                classes=classes,
                device=self.trial.device,
                count=self.config.evaluation.num_pictures,
            )
            path = self.directory / "predictions" / f"step-{self.step:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda temporary: picture.save(temporary, format="png"))
            self._tracker.log_artifact(path, "predictions")
        self._latest = metrics
        is_best = not self._best or metrics["val/miou"] > self._best["val/miou"]
        if is_best:
            self._best = metrics
        return is_best

    def _save(self, *, is_best: bool) -> None:
        self._tracker.flush()  # so that nothing before a checkpoint is ever missing from the tracked run
        self.checkpoints.save(
            self.step,
            weights=self.trial.model.state_dict(),
            trainer_state={
                "step": self.step,
                "best": self._best,
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "random_state": torch.get_rng_state(),
                "cuda_random_state": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
            config=self.config,
            classes=self.trial.train_data.classes,
            is_best=is_best,
        )

    def _restore(self, path: Path) -> None:
        checkpoint = open_checkpoint(path)
        load_weights(self.trial.model, checkpoint)
        state = checkpoint.trainer_state()
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]
        self._best = state["best"]
        torch.set_rng_state(state["random_state"])
        if torch.cuda.is_available() and state["cuda_random_state"]:
            torch.cuda.set_rng_state_all(state["cuda_random_state"])

    def _measure_loss_memory(self, images: Tensor, targets: Tensor) -> float:
        """Return the MiB that output layer and loss hold at their peak, forward and backward, for a batch."""
        model, device = self.trial.model, self.trial.device
        model.eval()  # batch normalisation must not count this batch twice
        with torch.no_grad():
            features = model.features(images.to(device))
        model.train()
        targets = targets.to(device)
        features.requires_grad_()

        def work() -> None:
            model.output_layer.loss(model.output_layer(features), targets).backward()

        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            mib = extra_memory_mib(work, device)
        self.optimizer.zero_grad(set_to_none=True)
        return mib

    def _perf_summary(self) -> dict[str, float]:
        windows = self._windows[1:] or self._windows  # the first interval warms up
        names = windows[0].keys() if windows else ()
        medians = {name: statistics.median(window[name] for window in windows) for name in names}
        return {**medians, **self._memory}

    def _describe_batch(self) -> str:
        sampler = TrainBatchSampler(
            length=len(self.trial.train_data),
            batch_size=self.config.trainer.batch_size,
            seed=self.config.seed,
            start_step=self.step,
        )
        indices = [index for index, _ in next(iter(sampler))]
        return ", ".join(self.trial.train_data.describe(index) for index in indices)


def _check_same_trial(saved: TrialConfig, asked: TrialConfig) -> None:
    """Refuse to resume a trial as another one."""
    old: dict[str, Any] = dict(flatten(saved.model_dump()))
    new: dict[str, Any] = dict(flatten(asked.model_dump()))
    changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    changed = [path for path in changed if path not in _MAY_CHANGE_ON_RESUME]
    if changed:
        path = changed[0]
        raise InputError(
            f"{path}: is {new.get(path)!r}, but the run to resume has {old.get(path)!r}; "
            "resume with the same configuration, or start anew without --resume"
        )
