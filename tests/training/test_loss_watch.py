from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from essnet.training.loss_watch import LossWatch, NonFiniteLossError

CPU = torch.device("cpu")


class Late:
    """Figures that are on their way until somebody waits for them, or says that they are there."""

    def __init__(self, figures: Tensor) -> None:
        self.figures = figures.tolist()
        self.there = False
        self.waited_for = False

    def arrived(self) -> bool:
        return self.there

    def values(self) -> list[float]:
        self.waited_for = not self.there
        return self.figures


def late_watch() -> tuple[LossWatch, list[Late]]:
    sent: list[Late] = []

    def send(figures: Tensor) -> Late:
        sent.append(Late(figures))
        return sent[-1]

    return LossWatch(CPU, explain=lambda step: f"images of {step}", send=send), sent


def note(watch: LossWatch, step: int, loss: float, norm: float | None = None) -> None:
    watch.note(step, loss=torch.tensor(loss), gradient_norm=None if norm is None else torch.tensor(norm))


def test_on_a_cpu_a_loss_is_seen_at_once() -> None:
    watch = LossWatch(CPU, explain=lambda step: f"images of {step}")
    note(watch, 1, 2.5)
    assert (watch.loss, watch.gradient_norm) == (2.5, None)
    note(watch, 2, 1.5, 0.25)
    assert (watch.loss, watch.gradient_norm) == (1.5, 0.25)
    with pytest.raises(NonFiniteLossError, match=r"^step 3: the loss is inf, images of 3$"):
        note(watch, 3, math.inf)
    with pytest.raises(
        NonFiniteLossError, match=r"^step 4: the gradient's norm is nan \(the loss is 2\), images of 4$"
    ):
        note(watch, 4, 2.0, math.nan)


def test_what_is_on_its_way_is_not_waited_for_until_it_must_be() -> None:
    watch, sent = late_watch()
    for step in range(1, 4):
        note(watch, step, float(step))
    assert math.isnan(watch.loss)
    sent[0].there = sent[2].there = True  # the second is still on its way: they are looked at in their order
    note(watch, 4, 4.0, 0.5)
    assert watch.loss == 1.0
    assert not any(late.waited_for for late in sent)
    watch.wait()
    assert (watch.loss, watch.gradient_norm) == (4.0, 0.5)
    assert [late.waited_for for late in sent] == [False, True, False, True]


def test_a_loss_that_comes_late_is_named_by_its_own_step() -> None:
    watch, sent = late_watch()
    note(watch, 7, math.nan)
    note(watch, 8, 1.0)
    sent[0].there = True
    with pytest.raises(NonFiniteLossError, match=r"^step 7: the loss is nan, images of 7$"):
        note(watch, 9, 1.0)
    watch, sent = late_watch()
    note(watch, 7, 1.0)
    note(watch, 8, math.inf)
    with pytest.raises(NonFiniteLossError, match=r"^step 8"):
        watch.wait()
