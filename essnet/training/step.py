"""One optimizer step: forward and backward of its micro-batches, the gradient's norm, the update."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from essnet.config.loop import TrainerConfig
from essnet.data.loading import Batch
from essnet.models import SegmentationModel
from essnet.training.compilation import compiled
from essnet.training.loss_watch import LossWatch, NonFiniteLossError
from essnet.training.precision import Precision
from essnet.training.step_profile import step_range

_SMALLEST_SCALE = 2.0**-10
"""float16's scale starts at 2**16 and halves at each overflow: below this no step will ever be taken."""


class OptimizerStep:
    """Takes steps.

    A step's loss is the mean over its micro-batches of their losses, each the mean over its own valid pixels.

    Raises
    ------
    InputError
        If the precision or the compilation is not to be had on the device.
    """

    def __init__(
        self,
        model: SegmentationModel,
        *,
        optimizer: Optimizer,
        schedule: LRScheduler,
        config: TrainerConfig,
        device: torch.device,
        watch: LossWatch,
    ) -> None:
        self.precision = Precision(config.precision, device)
        self._model = model
        self._forward = compiled(model, device) if config.compile else model
        self._parameters = [parameter for group in model.parameter_groups().values() for parameter in group]
        self._optimizer = optimizer
        self._schedule = schedule
        self._micro_batches = config.accumulate_steps
        self._largest_norm = config.clip_gradient_norm
        self._device = device
        self._watch = watch

    def take(self, step: int, micro_batches: Iterable[Batch], *, measure_norm: bool) -> None:
        """Take step number `step`.

        Parameters
        ----------
        micro_batches
            As many as the configuration says: images uint8 (B, 3, H, W), targets int64 (B, H, W).
        measure_norm
            Whether the gradient's norm is measured though nothing clips it.

        Raises
        ------
        NonFiniteLossError
            If the loss or a norm that is measured is NaN or infinite. On a CPU the optimizer has not stepped then.
        """
        self._optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        for images, targets in micro_batches:
            loss += self._backward(images, targets)
        scaler = self.precision.scaler
        if scaler is None:
            measured = measure_norm or self._largest_norm is not None
            self._watch.note(step, loss=loss, gradient_norm=self._clipped_norm() if measured else None)
            with step_range("optimizer"):
                self._optimizer.step()
                self._schedule.step()
            return
        # Not yet run on a GPU. An overflow is nothing to stop at: the scaler leaves that step out, which makes the
        # host wait for the GPU once a step.
        self._watch.note(step, loss=loss, gradient_norm=None)
        scaler.unscale_(self._optimizer)
        if self._largest_norm is not None:
            self._clipped_norm()
        with step_range("optimizer"):
            scaler.step(self._optimizer)
            scaler.update()
        if scaler.get_scale() < _SMALLEST_SCALE:
            raise NonFiniteLossError(
                f"step {step}: gradients overflow float16 however they are scaled; take trainer.precision=bfloat16"
            )
        with warnings.catch_warnings():  # that the schedule moved though the first step was left out
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
            self._schedule.step()

    def _backward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Add a micro-batch's share to the gradients; return its share of the loss."""
        with self.precision.autocast():
            with step_range("forward"):
                outputs = self._forward(images.to(self._device, non_blocking=True))
            with step_range("loss"):
                loss = self._model.output_layer.loss(outputs, targets.to(self._device, non_blocking=True))
        if self._micro_batches > 1:
            loss = loss / self._micro_batches
        scaler = self.precision.scaler
        with step_range("backward"):
            torch.autograd.backward(loss if scaler is None else scaler.scale(loss))
        return loss.detach()

    def _clipped_norm(self) -> Tensor:
        """Return the norm of the gradient over all parameters, and scale it down where it is too large."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = get_total_norm(gradients)
        if self._largest_norm is not None:
            clip_grads_with_norm_(self._parameters, self._largest_norm, norm)
        return norm
