"""Files are for whom the umask says: a group that shares a folder reads each other's runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from essnet.training.trainer import Trainer
from tests.training.tiny import tiny_trial


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_all_that_a_run_writes(tmp_path: Path, umask: int) -> None:
    options = {"objective.name": "knn_softmax", "trainer.max_steps": 2, "evaluation.num_pictures": 1}
    Trainer(tiny_trial(options), directory=tmp_path / "run").train()
    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("*") if not path.is_symlink()}
    suffixes = {path.suffix for path in found}
    assert suffixes >= {".safetensors", ".pt", ".yaml", ".json", ".jsonl", ".png"}
    wrong = {path: oct(mode) for path, mode in found.items() if mode != (0o777 if path.is_dir() else 0o666) & ~umask}
    assert wrong == {}
