"""What would make the host wait for a GPU between two steps, seen on a CPU."""

from __future__ import annotations

import itertools
import traceback
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from essnet.training.trainer import Trainer
from tests.losses.no_waiting import NoWaiting, Waits
from tests.training.tiny import NUM_CLASSES, tiny_trial

OPTIONS = {
    "plain": {},
    "all": {"trainer.clip_gradient_norm": 0.5, "trainer.ema_decay": 0.9, "trainer.accumulate_steps": 2},
}


class LoopsNoWaiting(NoWaiting):
    """Lets torch's optimizers read: their counters of steps lie on the CPU, wherever the weights do."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return super().__torch_dispatch__(func, types, args, kwargs)
        except Waits:
            callers = [frame.f_code.co_filename for frame, _ in traceback.walk_stack(None)]
            if not any("/torch/optim/" in caller for caller in callers):
                raise
            return func(*args, **(kwargs or {}))


class OnItsWay:
    """A step's figures that do not arrive by themselves."""

    def __init__(self, figures: Tensor) -> None:
        self._figures = figures

    def arrived(self) -> bool:
        return False

    def values(self) -> list[float]:
        return [float(figure) for figure in self._figures]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("recipe", [("sgd", "poly"), ("adamw", "one_cycle")], ids=["sgd", "adamw"])
def test_between_logs_the_loop_waits_for_nothing(
    tmp_path: Path, options: dict[str, object], recipe: tuple[str, str]
) -> None:
    watching = ExitStack()

    def progress(step: int, _: Any) -> None:
        if step == 1:
            watching.enter_context(LoopsNoWaiting())
        elif step == 4:
            watching.close()

    config = tiny_trial(
        {
            **options,
            "optimizer.name": recipe[0],
            "schedule.name": recipe[1],
            "trainer.log_every_steps": 5,
            "trainer.max_steps": 5,
            "evaluation.every_steps": 5,
        }
    )
    trainer = Trainer(config, directory=tmp_path, progress=progress)
    trainer._watch._send = OnItsWay
    # The loop's own share: neither the data, which is the CPU's, nor the objective's loss.
    images = torch.randint(256, (4, 3, 32, 32)).to(torch.uint8)
    targets = torch.randint(NUM_CLASSES, (4, 32, 32))
    trainer._batches = SimpleNamespace(after=lambda step: itertools.repeat((images, targets)))
    trainer.trial.model.output_layer.loss = lambda outputs, targets: outputs.float().square().mean()
    with watching:
        assert trainer.train().steps == 5
