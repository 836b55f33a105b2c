"""Writing a run's checkpoints while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from essnet.config import TrialConfig
from essnet.data import ClassTable
from essnet.training.checkpoint_folder import CheckpointFolder

_logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes one checkpoint at a time, in a thread of its own; what it is given must not change meanwhile."""

    def __init__(self, checkpoints: CheckpointFolder, *, config: TrialConfig, classes: ClassTable) -> None:
        self._checkpoints = checkpoints
        self._config = config
        self._classes = classes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None

    def start(
        self, step: int, *, best_step: int | None, weights: Mapping[str, Tensor], trainer_state: Mapping[str, Any]
    ) -> None:
        """Begin to write the checkpoint of a step, once the one before is written; raises what `wait` does."""
        self.wait()
        self._writing = self._thread.submit(
            self._checkpoints.save,
            step,
            best_step=best_step,
            weights=weights,
            trainer_state=trainer_state,
            config=self._config,
            classes=self._classes,
        )

    def has_finished(self) -> bool:
        """Whether a checkpoint was written since the last `wait`, or failed to be."""
        return self._writing is not None and self._writing.done()

    def wait(self) -> None:
        """Wait until nothing is being written; raises what the writing raised, an OSError of a full disk say."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def wait_after_failure(self) -> None:
        """Wait, while another error is on its way that must not be hidden: one of the writing is only warned of."""
        if self._writing is not None:
            error = self._writing.exception()
            if error is not None:
                _logger.warning("a checkpoint could not be written: %s: %s", type(error).__name__, error)
