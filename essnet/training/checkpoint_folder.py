"""The checkpoints of a run: which are kept, which is the newest, which is the best, and which can be gone on from."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from essnet.atomic_files import sync_to_disk
from essnet.config import InputError, TrialConfig
from essnet.data import ClassTable
from essnet.training.checkpoint import (
    LoadedCheckpoint,
    open_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)

_logger = logging.getLogger(__name__)


class CheckpointFolder:
    """`step-000300/` and so on: the newest of a run, to which the link `last` points, and `best`.

    Parameters
    ----------
    keep
        How many of the newest are kept, beside the best.
    """

    def __init__(self, root: Path, *, keep: int = 1) -> None:
        self.root = root
        self._keep = keep
        self._steps: list[int] = []
        """Steps of this run's checkpoints: an earlier run in the same folder may have left others."""

    def last(self) -> Path | None:
        """Return the newest checkpoint, or None."""
        return self._target("last")

    def best(self) -> Path | None:
        """Return the best checkpoint, or None."""
        return self._target("best")

    def newest_whole(self) -> LoadedCheckpoint | None:
        """Read the newest checkpoint that can be gone on from; None where there are none at all.

        One that is damaged is named in a warning, and the one before it taken.

        Raises
        ------
        InputError
            If all are damaged; names the newest.
        """
        errors = []
        for path in self._newest_first():
            try:
                loaded = open_checkpoint(path).load()
            except InputError as error:
                errors.append(error)
                continue
            for damage in errors:
                _logger.warning("%s; going on from %s instead", damage, path.name)
            return loaded
        if errors:
            raise errors[0]
        return None

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
        """Write the checkpoint of a step, move the links, and remove what is no longer kept.

        `best_step` is the step of the best checkpoint, this one or an earlier one; None while there is none.
        """
        folder = self._folder(step)
        write_checkpoint(folder, weights=weights, trainer_state=trainer_state, config=config, classes=classes)
        self._steps = [*(other for other in self._steps if other != step), step]
        self._link_and_prune(last=step, best=best_step)
        return folder

    def go_on_from(self, step: int, *, best_step: int | None) -> int | None:
        """Let the links point to the checkpoints of two steps, and remove those of later ones.

        Returns `best_step`, or None where its checkpoint is gone.
        """
        self._steps = sorted(other for other in self._on_disk() if other <= step)
        if best_step not in self._steps:
            best_step = None
        self._link_and_prune(last=step, best=best_step)
        return best_step

    def _link_and_prune(self, *, last: int, best: int | None) -> None:
        self._link("last", self._folder(last))
        if best is None:
            (self.root / "best").unlink(missing_ok=True)
        else:
            self._link("best", self._folder(best))
        sync_to_disk(self.root)
        newest = self._steps[-self._keep :]
        self._steps = [step for step in self._steps if step in newest or step == best]
        for step, folder in self._on_disk().items():
            if step not in self._steps:
                remove_checkpoint(folder)
        for leftover in self.root.glob(".step-*"):  # of a process that was killed
            shutil.rmtree(leftover)

    def _newest_first(self) -> Iterator[Path]:
        """The checkpoint that `last` points to, and those before it; all where a crash came before the first link."""
        newest: int | None = None
        with suppress(OSError):
            newest = _step_of(Path(os.readlink(self.root / "last")))
        on_disk = self._on_disk()
        for step in sorted(on_disk, reverse=True):
            if newest is None or step <= newest:
                yield on_disk[step]

    def _on_disk(self) -> dict[int, Path]:
        found = {_step_of(path): path for path in self.root.glob("step-*")}
        return {step: path for step, path in found.items() if step is not None}

    def _folder(self, step: int) -> Path:
        return self.root / f"step-{step:06d}"

    def _target(self, name: str) -> Path | None:
        link = self.root / name
        return link.resolve() if link.exists() else None

    def _link(self, name: str, folder: Path) -> None:
        temporary = self.root / f".{name}.partial"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        try:
            temporary.replace(self.root / name)
        except OSError:  # the disk is full, say
            with suppress(OSError):
                temporary.unlink()
            raise


def _step_of(path: Path) -> int | None:
    with suppress(ValueError):
        return int(path.name.removeprefix("step-"))
    return None
