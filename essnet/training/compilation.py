"""`trainer.compile`: the network through torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from essnet.config import InputError


def compiled(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the model's forward pass, compiled; the model itself, and so evaluation, stays as it is.

    Raises
    ------
    InputError
        If a function of one line cannot be compiled: there is no compiler, or it lacks something.
    """
    try:
        torch.compile(_one_line)(torch.ones(2, device=device))
    except Exception as error:  # whatever torch and the compiler it calls meet
        cause = getattr(error, "inner_exception", error)
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        reason = f"{type(cause).__name__}: {lines[0]}"[:160] if lines else type(cause).__name__
        raise InputError(
            f"trainer.compile: found true, but torch.compile does not work here ({reason}); "
            "install a C++ compiler such as g++, or leave it out"
        ) from None
    return cast("Callable[[Tensor], Tensor]", torch.compile(model))


def _one_line(values: Tensor) -> Tensor:
    return values + 1
