"""Small sweep files, and what loading says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from essnet.config import InputError, Sweep, load_sweep
from tests.config.files import TRIAL, write

HEAD = "name: s\nbase: base.yaml\nbaseline: full\n"
FULL = "  full: {objective.name: full_softmax}\n"


def load(tmp_path: Path, text: str, *arguments: str, base: str = TRIAL) -> Sweep:
    write(tmp_path / "base.yaml", base)
    return load_sweep(write(tmp_path / "s.yaml", text), arguments)


def refusal(tmp_path: Path, text: str, *arguments: str, base: str = TRIAL) -> str:
    with pytest.raises(InputError) as error:
        load(tmp_path, text, *arguments, base=base)
    return str(error.value).replace(f"{tmp_path}/", "")


def arm(line: str) -> str:
    return f"{HEAD}arms:\n{FULL}  knn: {{{line}}}\n"
