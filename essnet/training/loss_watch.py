"""Looking at every step's loss without making the host wait for a GPU."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor


class NonFiniteLossError(RuntimeError):
    """The loss, or its gradient, is NaN or infinite; nothing that came of it is saved."""


class Arriving(Protocol):
    """Figures of a step on their way to the host."""

    def arrived(self) -> bool:
        """Whether `values` returns at once."""

    def values(self) -> list[float]:
        """Wait for the figures, and return them."""


class LossWatch:
    """Sees each step's loss and, where there is one, its gradient's norm.

    On a CPU it looks at once, before the optimizer steps. On a GPU the figures are copied while the host goes on, and
    looked at when they are there: some steps later, and at the latest in `wait`, before anything is logged,
    evaluated or saved.

    Parameters
    ----------
    device
        Where the figures are computed.
    explain
        Called with a step that went wrong: what follows the figure in the message.
    send
        Called with a step's figures, (1,) or (2,); None: they are copied from a GPU, and read on a CPU.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        explain: Callable[[int], str],
        send: Callable[[Tensor], Arriving] | None = None,
    ) -> None:
        self.loss = math.nan
        self.gradient_norm: float | None = None
        self._explain = explain
        self._send = send if send is not None or device.type != "cuda" else _CopyFromGpu
        self._waiting: deque[tuple[int, Arriving]] = deque()

    def note(self, step: int, *, loss: Tensor, gradient_norm: Tensor | None) -> None:
        """Take the figures of a step, scalars, and look at those that are there.

        Raises
        ------
        NonFiniteLossError
            If a figure is NaN or infinite; the message names the step.
        """
        figures = (loss,) if gradient_norm is None else (loss, gradient_norm)
        if self._send is None:
            self._look(step, [float(figure) for figure in figures])
            return
        self._waiting.append((step, self._send(torch.stack(figures))))
        while self._waiting and self._waiting[0][1].arrived():
            self._look_at_first()

    def wait(self) -> None:
        """Look at all that was noted; `loss` and `gradient_norm` are those of the last step then.

        Raises
        ------
        NonFiniteLossError
            If a figure is NaN or infinite.
        """
        while self._waiting:
            self._look_at_first()

    def _look_at_first(self) -> None:
        step, arriving = self._waiting.popleft()
        self._look(step, arriving.values())

    def _look(self, step: int, figures: list[float]) -> None:
        self.loss, self.gradient_norm = figures[0], figures[1] if len(figures) > 1 else None
        if not math.isfinite(self.loss):
            raise NonFiniteLossError(f"step {step}: the loss is {self.loss}, {self._explain(step)}")
        if self.gradient_norm is not None and not math.isfinite(self.gradient_norm):
            raise NonFiniteLossError(
                f"step {step}: the gradient's norm is {self.gradient_norm} (the loss is {self.loss:.6g}), "
                f"{self._explain(step)}"
            )


class _CopyFromGpu:
    """Not yet run on a GPU."""

    def __init__(self, figures: Tensor) -> None:
        self._values = torch.empty(figures.shape, dtype=figures.dtype, pin_memory=True)
        self._values.copy_(figures.detach(), non_blocking=True)
        self._event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types there
        self._event.record(torch.cuda.current_stream(figures.device))

    def arrived(self) -> bool:
        return bool(self._event.query())

    def values(self) -> list[float]:
        self._event.synchronize()
        figures: list[float] = self._values.tolist()
        return figures
