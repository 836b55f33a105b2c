"""What a case is: a number, which is its seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeAlias

from essnet.config import InputError
from essnet.downloads.archive import DownloadFailed

ANSWERS = (InputError, DownloadFailed)
"""What may be said of a bad input: one line for people."""

Run: TypeAlias = Callable[[int], None]
"""Runs the case of a number; raises one of ANSWERS, or nothing where the input is taken."""
Subject: TypeAlias = Callable[[Path], Run]
"""Prepares a folder, once."""


def random_of(subject: str, number: int) -> Random:
    """Return the random numbers of a case."""
    return Random(f"{subject} {number}")
