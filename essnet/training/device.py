"""Where a trial runs."""

from __future__ import annotations

import torch

from essnet.config import InputError


def resolve_device(name: str, *, key: str = "trainer.device") -> torch.device:
    """Turn the name of a device, given as `key`, into a device that is there.

    Raises
    ------
    InputError
        If there is no such device, or this machine does not have it.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"{key}: found {name!r}; one of auto, cpu, cuda, cuda:0, cuda:1, ...")
    if device.type == "cuda" and (device.index or 0) >= gpus:
        there = f"cuda:0 to cuda:{gpus - 1}" if gpus else "no GPU"
        raise InputError(f"{key}: found {name!r}, but torch sees {there}; take cpu or auto")
    return device
