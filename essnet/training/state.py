"""What a run goes on from: all that a checkpoint holds besides configuration and classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from essnet.config import InputError
from essnet.models import SegmentationModel
from essnet.training.checkpoint import LoadedCheckpoint
from essnet.training.performance import Performance
from essnet.training.trial import load_weights
from essnet.training.weight_average import WeightAverage


@dataclass
class TrainingState:
    """The parts of a run that change while it trains."""

    device: torch.device
    model: SegmentationModel
    optimizer: Optimizer
    schedule: LRScheduler
    performance: Performance
    average: WeightAverage | None = None
    scaler: torch.amp.GradScaler | None = None
    step: int = 0
    """Steps that were taken."""
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    """Metrics of the best evaluation; empty while there is none."""

    @property
    def evaluated_model(self) -> SegmentationModel:
        """What is evaluated and saved as the model: the average of the weights, where there is one."""
        return self.model if self.average is None else self.average.model

    def weights(self) -> dict[str, Tensor]:
        """Return a copy, in main memory, of what goes to `model.safetensors`."""
        copied: dict[str, Tensor] = _copied(self.evaluated_model.state_dict())
        return copied

    def trainer_state(self) -> dict[str, Any]:
        """Return a copy, in main memory, of what goes to `trainer.pt`."""
        cuda = self.device.type == "cuda"
        state: dict[str, Any] = {
            "step": self.step,
            "best_step": self.best_step,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random_state": torch.get_rng_state(),
            "cuda_random_state": torch.cuda.get_rng_state(self.device) if cuda else None,
            "performance": self.performance.state_dict(),
        }
        if self.average is not None:
            # model.safetensors has the average's weights, these are the trained ones.
            state |= {"average": self.average.state_dict(), "trained_weights": self.model.state_dict()}
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        copied: dict[str, Any] = _copied(state)
        return copied

    def restore(self, loaded: LoadedCheckpoint) -> None:
        """Go on from a checkpoint of the same trial.

        Raises
        ------
        InputError
            If its files lack what the configuration beside them calls for.
        """
        path, state = loaded.checkpoint.path, loaded.trainer_state
        try:
            if self.average is None:
                load_weights(self.model, loaded.weights, source=path)
            else:
                self.model.load_state_dict(state["trained_weights"])
                self.average.load_state_dict(state["average"], weights=loaded.weights)
            if self.scaler is not None:
                self.scaler.load_state_dict(state["scaler"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.step, self.best_step, self.best = state["step"], state["best_step"], dict(state["best"])
            self.performance.load_state_dict(state["performance"])
            torch.set_rng_state(state["random_state"])
            if self.device.type == "cuda" and state["cuda_random_state"] is not None:
                torch.cuda.set_rng_state(state["cuda_random_state"], self.device)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path / 'trainer.pt'}: does not fit its config.yaml ({reason})") from None


def _copied(value: Any) -> Any:
    # Training goes on in place while a copy is written.
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(entry) for entry in value)
    return value
