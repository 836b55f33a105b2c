"""Where a sweep was begun: versions and devices, noted for who reads its comparison later."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

from essnet import __version__
from essnet.cores import available_cores

_PACKAGES = ("torch", "ray", "mlflow", "optuna")
_GIB = 2**30


def environment() -> dict[str, str]:
    """Return name -> text, of this machine and installation."""
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "essnet": __version__,
        "Python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
        "system": platform.platform(),
        "CPU cores": str(available_cores()),
        "GPUs": ", ".join(f"{gpu.name} ({gpu.total_memory / _GIB:.0f} GiB)" for gpu in gpus) or "none",
    }
