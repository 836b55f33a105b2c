"""Checkpoints: folders that appear whole or not at all, and hold no pickles.

A checkpoint is a folder with `model.safetensors`, `trainer.pt` (optimizer, schedule, random states, step, best so far,
and the trained weights where the model's are their average; loaded with `weights_only=True`), `config.yaml` and
`classes.json`: enough to evaluate, predict and resume. The format's version and essnet's are in the metadata
of `model.safetensors`. `checksums.json` has the SHA-256 of the two files of tensors, which tells a damaged one from a
whole one; a checkpoint without it is taken as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from essnet import __version__
from essnet.atomic_files import sync_to_disk
from essnet.checksums import sha256_of
from essnet.config import InputError, TrialConfig, load_trial, to_yaml
from essnet.config.errors import first_line
from essnet.data import ClassTable
from essnet.format_version import refuse_newer
from essnet.models.tensor_files import load_tensors, save_tensors

FORMAT_VERSION = 1
_METADATA = {"format_version": str(FORMAT_VERSION), "essnet_version": __version__}
_SUMMED = ("model.safetensors", "trainer.pt")
_MODEL_FILES = ("model.safetensors", "config.yaml", "classes.json")
_FILES = (*_MODEL_FILES, "trainer.pt")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint of which all is read."""

    checkpoint: Checkpoint
    weights: Mapping[str, torch.Tensor]
    trainer_state: Mapping[str, Any]


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
        self._check_sum("model.safetensors")
        try:
            return load_file(self.path / "model.safetensors")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path / 'model.safetensors'}: damaged ({first_line(error)})") from None

    def trainer_state(self) -> dict[str, Any]:
        """Read the state of optimizer, schedule and random generators.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        path = self.path / "trainer.pt"
        self._check_sum("trainer.pt")
        try:
            state: dict[str, Any] = load_tensors(path)
        except Exception as error:  # whatever torch.load meets in a damaged file
            raise InputError(f"{path}: damaged ({first_line(error)})") from None
        return state

    def load(self) -> LoadedCheckpoint:
        """Read all of it; raises what `weights` and `trainer_state` do."""
        return LoadedCheckpoint(self, weights=self.weights(), trainer_state=self.trainer_state())

    def _check_sum(self, name: str) -> None:
        path = self.path / "checksums.json"
        if not path.is_file():
            return
        try:
            expected = json.loads(path.read_text(encoding="utf-8"))[name]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: damaged ({first_line(error)})") from None
        if sha256_of(self.path / name) != expected:
            raise InputError(
                f"{self.path / name}: damaged (not what was written: its SHA-256 is not that of checksums.json)"
            )


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint folder.

    Raises
    ------
    InputError
        If the folder is no checkpoint, or of a newer format than this version of essnet knows.
    """
    return _open(path, _FILES)


def open_model(path: Path) -> Checkpoint:
    """Open a folder that has of a checkpoint what `copy_model` takes; there is no `trainer_state` in it.

    Raises what `open_checkpoint` does.
    """
    return _open(path, _MODEL_FILES)


def copy_model(checkpoint: Path, folder: Path) -> None:
    """Copy of a checkpoint what predicts into a new folder, without what training goes on from: a third of it."""
    folder.mkdir(parents=True)
    for name in (*_MODEL_FILES, "checksums.json"):
        if name in _MODEL_FILES or (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)


def _open(path: Path, files: Sequence[str]) -> Checkpoint:
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint")
    missing = [name for name in files if not (path / name).is_file()]
    if missing:
        raise InputError(
            f"{path}: is no checkpoint ({', '.join(missing)} missing); a checkpoint is a folder such as best/"
        )
    _check_format(path / "model.safetensors")
    try:
        classes = ClassTable.from_json(json.loads((path / "classes.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path / 'classes.json'}: damaged ({first_line(error)})") from None
    return Checkpoint(path=path, config=load_trial(path / "config.yaml"), classes=classes)


def write_checkpoint(
    folder: Path,
    *,
    weights: Mapping[str, torch.Tensor],
    trainer_state: Mapping[str, Any],
    config: TrialConfig,
    classes: ClassTable,
) -> None:
    """Write a checkpoint's folder, under another name until it is whole; one that is there already is replaced.

    Raises
    ------
    OSError
        If it cannot be written, because the disk is full say; other checkpoints stay, and nothing of this one does.
    """
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_tensors(tensors, temporary / "model.safetensors", metadata=_METADATA)
        torch.save(dict(trainer_state), temporary / "trainer.pt")
        (temporary / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        (temporary / "classes.json").write_text(json.dumps(classes.to_json()), encoding="utf-8")
        checksums = {name: sha256_of(temporary / name) for name in _SUMMED}
        (temporary / "checksums.json").write_text(json.dumps(checksums), encoding="utf-8")
        for name in (*_FILES, "checksums.json"):
            sync_to_disk(temporary / name)
        sync_to_disk(temporary)
        if folder.exists():  # the same step once more, after a crash before the link to it
            remove_checkpoint(folder)
        temporary.rename(folder)
        sync_to_disk(folder.parent)
    except (OSError, RuntimeError) as error:  # each file has its own way to say that the disk is full
        free = shutil.disk_usage(temporary.parent).free / 2**20
        raise OSError(
            f"{folder}: cannot be written ({first_line(error)}), {free:.0f} MiB are free; "
            "checkpoints before it are as they were"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint's folder, of which nobody sees half."""
    hidden = folder.rename(folder.with_name(f".{folder.name}.removed"))
    shutil.rmtree(hidden)


def _check_format(weights: Path) -> None:
    try:
        weights.open("rb").close()  # safetensors says of a file that it may not read that there is none
        with safe_open(weights, framework="pt") as file:
            metadata = file.metadata() or {}
        version = int(metadata["format_version"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{weights}: damaged, or not written by essnet ({first_line(error)})") from None
    refuse_newer(weights, version, known=FORMAT_VERSION, written_by=metadata.get("essnet_version"))
