"""Checkpoints: folders that appear whole or not at all, and hold no pickles.

A checkpoint is a folder with `model.safetensors`, `trainer.pt` (optimizer, schedule, random states, step,
best so far; loaded with `weights_only=True`), `config.yaml` and `classes.json`: enough to evaluate, predict
and resume. The format's version is in the metadata of `model.safetensors`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from essnet.config import InputError, TrialConfig, load_trial, to_yaml
from essnet.data import ClassTable

FORMAT_VERSION = 1
_FILES = ("model.safetensors", "trainer.pt", "config.yaml", "classes.json")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, its small parts read."""

    path: Path
    config: TrialConfig
    classes: ClassTable

    def weights(self) -> dict[str, torch.Tensor]:
        """Read the model's state.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        try:
            return load_file(self.path / "model.safetensors")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path / 'model.safetensors'}: damaged ({_first_line(error)})") from None

    def trainer_state(self) -> dict[str, Any]:
        """Read the state of optimizer, schedule and random generators.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        path = self.path / "trainer.pt"
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch.load meets in a damaged file
            raise InputError(f"{path}: damaged ({_first_line(error)})") from None
        return state


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint folder.

    Raises
    ------
    InputError
        If the folder is no checkpoint, or of a newer format than this version of essnet knows.
    """
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint")
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        raise InputError(
            f"{path}: is no checkpoint ({', '.join(missing)} missing); a checkpoint is a folder such as best/"
        )
    _check_format(path / "model.safetensors")
    try:
        classes = ClassTable.from_json(json.loads((path / "classes.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / 'classes.json'}: damaged ({_first_line(error)})") from None
    return Checkpoint(path=path, config=load_trial(path / "config.yaml"), classes=classes)


class CheckpointFolder:
    """The checkpoints of a run: `step-000300/` and so on, those that the links `last` and `best` point to."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def last(self) -> Path | None:
        """Return the newest checkpoint, or None."""
        return self._target("last")

    def best(self) -> Path | None:
        """Return the best checkpoint, or None."""
        return self._target("best")

    def save(
        self,
        step: int,
        *,
        best_step: int | None,
        weights: Mapping[str, torch.Tensor],
        trainer_state: Mapping[str, Any],
        config: TrialConfig,
        classes: ClassTable,
    ) -> Path:
        """Write the checkpoint of a step, move the links, and remove what no link points to.

        `best_step` is the step of the best checkpoint, this one or an earlier one; None while there is none.
        """
        folder = self._folder(step)
        temporary = self.root / f".{folder.name}.partial"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}
            save_file(tensors, temporary / "model.safetensors", {"format_version": str(FORMAT_VERSION)})
            torch.save(dict(trainer_state), temporary / "trainer.pt")
            (temporary / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
            (temporary / "classes.json").write_text(json.dumps(classes.to_json()), encoding="utf-8")
            for name in _FILES:
                _sync(temporary / name)
            _sync(temporary)
            if folder.exists():  # the same step once more, after a crash before the link to it
                self._remove(folder)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.link(last=step, best=best_step)
        return folder

    def link(self, *, last: int, best: int | None) -> None:
        """Let the links point to the checkpoints of two steps, and remove all others."""
        self._link("last", self._folder(last))
        if best is None:
            (self.root / "best").unlink(missing_ok=True)
        else:
            self._link("best", self._folder(best))
        _sync(self.root)
        kept = {self.last(), self.best()}
        for folder in self.root.glob("step-*"):
            if folder.resolve() not in kept:
                self._remove(folder)
        for leftover in self.root.glob(".step-*"):  # of a process that was killed
            shutil.rmtree(leftover)

    def _folder(self, step: int) -> Path:
        return self.root / f"step-{step:06d}"

    def _target(self, name: str) -> Path | None:
        link = self.root / name
        return link.resolve() if link.exists() else None

    def _link(self, name: str, folder: Path) -> None:
        temporary = self.root / f".{name}.partial"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        temporary.replace(self.root / name)

    def _remove(self, folder: Path) -> None:
        hidden = folder.rename(self.root / f".{folder.name}.removed")  # nobody shall see half of it
        shutil.rmtree(hidden)


def _check_format(weights: Path) -> None:
    try:
        with safe_open(weights, framework="pt") as file:
            version = int((file.metadata() or {})["format_version"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{weights}: damaged, or not written by essnet ({_first_line(error)})") from None
    if version > FORMAT_VERSION:
        raise InputError(f"{weights}: format {version}; this version of essnet reads up to {FORMAT_VERSION}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
