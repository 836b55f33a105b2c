"""Files that torch.save wrote, read without trust."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch


def load_tensors(path: Path | str) -> Any:
    """Read tensors and plain values, in main memory; nothing else is unpickled, and no code of the file runs.

    Raises nearly anything for a file that is damaged or holds something else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells how a stranger's file is pickled, and refuses it then
        return torch.load(path, map_location="cpu", weights_only=True)
