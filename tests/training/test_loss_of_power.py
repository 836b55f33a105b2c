"""Whenever power is lost while a checkpoint is saved, there is one to go on from."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from essnet.config import InputError, TrialConfig
from essnet.data import ClassTable
from essnet.training import checkpoint, checkpoint_folder
from essnet.training.checkpoint_folder import CheckpointFolder
from tests.loss_of_power import Recording, Tree, recorded, states_after_loss, write_tree
from tests.training.tiny import assert_same, tiny_trial

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names what is synced by /proc")
CONFIG: TrialConfig = tiny_trial()


def parts(step: int) -> dict[str, Any]:
    return {
        "weights": {"a": torch.full((2,), float(step))},
        "trainer_state": {"step": step},
        "classes": ClassTable(("sky", "sea")),
        "config": CONFIG,
    }


class Loads:
    """The step of the newest checkpoint that loads, of trees of which many are alike."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._known: dict[str, int | None] = {}

    def step(self, tree: Tree) -> int | None:
        key = hashlib.sha256(repr(sorted(tree.items(), key=lambda entry: entry[0])).encode()).hexdigest()
        if key not in self._known:
            root = self._scratch / key
            write_tree(root, tree)
            loaded = CheckpointFolder(root).newest_whole()
            self._known[key] = None if loaded is None else loaded.trainer_state["step"]
            if loaded is not None:
                assert_same(loaded.weights, parts(loaded.trainer_state["step"])["weights"])
        return self._known[key]

    def __len__(self) -> int:
        return len(self._known)


def steps_after_loss(recording: Recording, scratch: Path) -> tuple[set[int | None], set[int | None], int]:
    """Return which steps may be gone on from: if power is lost meanwhile, afterwards; and of how many trees."""
    loads, ended = Loads(scratch), len(recording.operations)
    meanwhile, afterwards = set(), set()
    for done, tree in states_after_loss(recording):
        (afterwards if done == ended else meanwhile).add(loads.step(tree))
    return meanwhile, afterwards, len(loads)


@pytest.mark.parametrize("best", [1, 2], ids=["the one before is kept", "the one before is removed"])
def test_the_one_before_or_the_new_one_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    folder.save(1, best_step=1, **parts(1))
    with recorded(folder.root, monkeypatch) as recording:
        folder.save(2, best_step=best, **parts(2))
    kinds = [operation.kind for operation in recording.operations]
    assert kinds.count("write") == 5
    assert kinds.count("sync") == 8  # five files, their folder, and the folder of checkpoints twice
    meanwhile, afterwards, trees = steps_after_loss(recording, tmp_path / "states")
    assert meanwhile == {1, 2}
    assert afterwards == {2}, "what was saved is lost"
    assert trees > 100


def test_the_first_one_is_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    folder.root.mkdir()
    with recorded(folder.root, monkeypatch) as recording:
        folder.save(1, best_step=1, **parts(1))
    meanwhile, afterwards, _ = steps_after_loss(recording, tmp_path / "states")
    assert meanwhile == {None, 1}
    assert afterwards == {1}


def test_a_step_that_is_saved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is there, and a crash came before the link to it."""
    folder = CheckpointFolder(tmp_path / "run")
    folder.save(1, best_step=1, **parts(1))
    checkpoint.write_checkpoint(folder.root / "step-000002", **parts(2))
    with recorded(folder.root, monkeypatch) as recording:
        folder.save(2, best_step=2, **parts(2))
    meanwhile, afterwards, _ = steps_after_loss(recording, tmp_path / "states")
    assert meanwhile == {1, 2}
    assert afterwards == {2}


def test_what_is_not_synced_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    folder.save(1, best_step=1, **parts(1))
    monkeypatch.setattr(checkpoint, "sync_to_disk", lambda path: None)
    monkeypatch.setattr(checkpoint_folder, "sync_to_disk", lambda path: None)
    with recorded(folder.root, monkeypatch) as recording:
        folder.save(2, best_step=2, **parts(2))
    with pytest.raises(InputError, match="damaged"):
        steps_after_loss(recording, tmp_path / "states")
