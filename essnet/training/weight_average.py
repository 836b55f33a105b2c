"""An exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from essnet.models import SegmentationModel


class WeightAverage:
    """A second model, whose weights trail those of the trained one.

    Everything of the state dict that is in floating point is averaged: parameters, class embeddings among them, and
    the statistics of batch normalisation, which belong to the weights that they were taken with. Counters are copied.
    While few steps are taken the decay is (1 + n) / (10 + n) after n steps, if that is smaller, so that a short run's
    average is not of its initial weights mostly (as `tf.train.ExponentialMovingAverage` does with `num_updates`).

    Parameters
    ----------
    model
        The trained model; the average starts as a copy of it.
    decay
        What remains of the average at a step.
    """

    def __init__(self, model: SegmentationModel, *, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        self._steps = 0
        averaged, trained = self.model.state_dict(), model.state_dict()
        names = [name for name, tensor in trained.items() if tensor.is_floating_point()]
        self._averaged = [averaged[name] for name in names]
        self._trained = [trained[name] for name in names]
        self._counters = [(averaged[name], trained[name]) for name in trained.keys() - set(names)]

    @torch.no_grad()
    def update(self) -> None:
        """Take the trained model's present weights into the average; nothing waits for a GPU."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        # Not swa_utils.AveragedModel: it keeps the number of steps in a tensor, and copies that each time.
        torch._foreach_lerp_(self._averaged, self._trained, 1 - decay)
        for averaged, trained in self._counters:
            averaged.copy_(trained)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what the average's weights do not say."""
        return {"steps": self._steps}

    def load_state_dict(self, state: dict[str, Any], *, weights: Mapping[str, Tensor]) -> None:
        """Go on from the state and the averaged weights of a checkpoint."""
        self._steps = state["steps"]
        self.model.load_state_dict(weights)
