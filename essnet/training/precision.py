"""What the network computes in: `trainer.precision` as torch's autocast and, for float16, its gradient scaler."""

from __future__ import annotations

import torch

from essnet.config import InputError

_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(name: str, device: torch.device) -> None:
    """Check that a device computes in `trainer.precision`.

    Raises
    ------
    InputError
        For float16 without a GPU: its scale cannot be had on a CPU, where bfloat16 is as fast and needs none.
    """
    if name == "float16" and device.type != "cuda":
        raise InputError(
            f"trainer.precision: found float16, which needs a GPU, and the trial runs on {device.type}; "
            "take bfloat16 or float32"
        )


class Precision:
    """The autocast of a training step.

    float16's gradients are scaled, so that small ones do not vanish, and a step whose gradients overflow is left
    out, as `torch.amp.GradScaler` does; other types have no scaler. Raises what `check_precision` does.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        check_precision(name, device)
        self._dtype = _DTYPES[name]
        self._device_type = device.type
        self.scaler = torch.amp.GradScaler(device.type) if name == "float16" else None  # not yet run on a GPU

    def autocast(self) -> torch.autocast:
        """Return the context of the network's forward pass."""
        return torch.autocast(self._device_type, dtype=self._dtype, enabled=self._dtype is not None)
