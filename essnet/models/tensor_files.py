"""Files of tensors: read without trust, written for whom the umask says."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from essnet.config.errors import first_line


def load_tensors(path: Path | str) -> Any:
    """Read what torch.save wrote, tensors and plain values, in main memory; nothing else is unpickled, no code runs.

    Raises nearly anything for a file that is damaged or holds something else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells how a stranger's file is pickled, and refuses it then
        return torch.load(path, map_location="cpu", weights_only=True)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write contiguous tensors in main memory as a safetensors file.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file(dict(tensors), path, metadata)
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({first_line(error)})") from None
    path.chmod(mode)  # safetensors makes its files readable for their owner alone
